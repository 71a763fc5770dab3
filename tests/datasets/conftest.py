"""Small downloads in the public layouts, cut from phantoms."""

import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from cobot.datasets.head_neck import LABELS, REGIONS, TUMOUR_REGIONS
from cobot.datasets.phantom import abdomen_phantom

AFFINE = np.diag([-2.0, -2.0, 5.0, 1.0])


@cache
def phantom():
    """One tiny abdomen; its truth has liver 1 and spleen 2."""
    return abdomen_phantom(3, shape=(24, 20, 6), spacing_mm=(14.0, 14.0, 24.0))


def write(path: Path, voxels, affine=AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def image(path: Path, seed: int) -> Path:
    """The phantom with noise of its own, so that no two images are equal."""
    volume = phantom().volume
    noise = np.random.default_rng(seed).integers(-9, 9, volume.shape)
    return write(path, (volume.voxels + noise).astype(np.int16), volume.affine)


def mask(path: Path, values: dict[int, int]) -> Path:
    """The phantom's truth, its values exchanged; others are background."""
    truth = phantom().truth
    voxels = np.zeros(truth.voxels.shape, np.uint8)
    for ours, theirs in values.items():
        voxels[truth.voxels == ours] = theirs
    return write(path, voxels, truth.affine)


def spleen_download(root: Path, training: int, test: int) -> Path:
    """Task09_Spleen with fewer cases; returns the folder it lies in."""
    task = root / "Task09_Spleen"
    names = [f"spleen_{number}.nii.gz" for number in range(1, training + test + 1)]
    for number, name in enumerate(names):
        if number < training:
            image(task / "imagesTr" / name, number)
            mask(task / "labelsTr" / name, {2: 1})
        else:
            image(task / "imagesTs" / name, number)
    (task / "imagesTr" / "._spleen_1.nii.gz").write_bytes(b"macOS")
    index = {
        "labels": {"0": "background", "1": "spleen"},
        "training": [
            {"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"}
            for name in names[:training]
        ],
        "test": [f"./imagesTs/{name}" for name in names[training:]],
    }
    (task / "dataset.json").write_text(json.dumps(index))
    return root


def abdomen_download(root: Path, images: int, masks: int) -> Path:
    """AbdomenCT-1K with fewer cases, in its ImagePart and Mask folders."""
    for number in range(1, images + 1):
        part = root / f"AbdomenCT-1K-ImagePart{number % 3 + 1}"
        image(part / f"Case_{number:05d}_0000.nii.gz", number)
        if number <= masks:
            organs = {1: 1, 3: 2, 4: 2, 2: 3, 10: 4}
            mask(root / "Mask" / f"Case_{number:05d}.nii.gz", organs)
    return root


def regions(seed: int = 0):
    """A random map of the 54 published ids and one of the tumours' two, a few voxels each."""
    rng = np.random.default_rng(seed)
    organs = rng.integers(0, 55, (9, 8, 5)).astype(np.uint8)
    organs.flat[:55] = np.arange(55)
    return organs, rng.choice([0, 0, 0, 1, 2], organs.shape).astype(np.uint8)


def head_neck_download(root: Path, cases: int, maps: bool) -> Path:
    """SegRap2023 with fewer cases, as one-hot maps or as the single files they stand for."""
    for number in range(cases):
        case = f"segrap_{number:04d}"
        folder = root / "SegRap2023_Training_Set_120cases" / case
        organs, tumours = regions(number)
        for shift, name in enumerate(("image", "image_contrast")):
            hu = (organs.astype(np.int16) + 100 * shift + number).astype(np.int16)
            write(folder / f"{name}.nii.gz", hu)
        if maps:
            one_hot = root / "SegRap2023_Training_Set_120cases_OneHot_Labels"
            write(one_hot / "Task001" / f"{case}.nii.gz", organs)
            write(one_hot / "Task002" / f"{case}.nii.gz", tumours)
            continue
        for name in LABELS.values():
            source, ids = (organs, REGIONS) if name in REGIONS else (tumours, TUMOUR_REGIONS)
            write(folder / f"{name}.nii.gz", np.isin(source, ids[name]).astype(np.uint8))
    return root


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="session")
def downloads():
    """The functions above; test files cannot import a conftest."""
    return SimpleNamespace(
        write=write, image=image, mask=mask, regions=regions, tree=tree, phantom=phantom,
        spleen=spleen_download, abdomen=abdomen_download, head_neck=head_neck_download,
    )  # fmt: skip


@pytest.fixture
def source(downloads, tmp_path):
    """A download of four spleens, one of them without a label."""
    return downloads.spleen(tmp_path / "download", training=3, test=1)


@pytest.fixture
def studies(tmp_path):
    return tmp_path / "studies"
