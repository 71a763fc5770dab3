"""A data set a training can be played on in seconds: bright discs in grey bodies, a small SAM."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cobot.adapters.config import AdapterConfig
from cobot.geometry import check_affine
from cobot.io import write_label_map
from cobot.sam.build import build
from cobot.sam.weights import LoadedSam, load_sam
from cobot.training.hardware import Hardware
from cobot.training.recipe import Recipe
from cobot.training.request import TrainingRequest
from cobot.training.task import TrainingTask
from cobot.volume import LabelMap
from safetensors.torch import save_file

LABELS = {1: "ball", 2: "rod"}
TASK = TrainingTask("discs", LABELS, cut="k").shown_in("-200,300")
AFFINE = np.diag([3.0, 3.0, 6.0, 1.0])
QUICK = {"epochs": 2, "batch_size": 2, "warmup_steps": 0, "save_every": 2, "rounds": 1}


def write_image(path: Path, voxels: np.ndarray) -> Path:
    """A NIfTI file of HU."""
    import nibabel as nib

    nib.save(nib.Nifti1Image(voxels.astype(np.int16), AFFINE), path)
    return path


def disc_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """HU and labels of a body 40 x 36 x 6 with a ball (slices 1 to 3) and a rod (slice 2)."""
    rng = np.random.default_rng(seed)
    i, j = np.mgrid[:40, :36]
    hu = np.full((40, 36, 6), -1000.0)
    hu[4:36, 4:32] = rng.normal(0, 10, (32, 28, 6))
    labels = np.zeros(hu.shape, np.uint8)
    at = rng.uniform([14, 12], [18, 16])
    labels[(i - at[0]) ** 2 + (j - at[1]) ** 2 < 30, 1:4] = 1
    labels[26:31, 20:26, 2] = 2
    hu[labels == 1] += 150
    hu[labels == 2] -= 120
    return hu, labels


def write_pairs(folder: Path, cases: int, first: int = 0) -> Path:
    """A folder of image_N and label_N."""
    folder.mkdir(exist_ok=True)
    for number in range(first, first + cases):
        hu, labels = disc_case(number)
        write_image(folder / f"image_{number}.nii.gz", hu)
        write_label_map(
            LabelMap(labels, check_affine(AFFINE), LABELS), folder / f"label_{number}.nii.gz"
        )
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A file of random weights for tiny."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(
        {name: value.contiguous() for name, value in build("tiny").state_dict().items()}, path
    )
    return path


@pytest.fixture
def loaded(weights) -> LoadedSam:
    return load_sam("tiny", weights)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Three cases."""
    return write_pairs(tmp_path_factory.mktemp("discs"), 3)


@pytest.fixture
def request_for(data, weights, tmp_path):
    """Make a request; by default quick, on one CPU thread's worth of work."""

    def make(method: str = "lora+cobot", **changes: object) -> TrainingRequest:
        settings: dict[str, object] = {
            "data": data,
            "task": TASK,
            "store": tmp_path / "store",
            "adapter": AdapterConfig.named(method),
            "recipe": Recipe.named("default", QUICK),
            "weights": weights,
            "side_px": 32,
            "hardware": Hardware(device="cpu"),
        }
        return TrainingRequest(**(settings | changes))

    return make
