"""Bad input and bad places for output: each is told plainly, and the rest goes on."""

import gzip
import re
import resource
import shutil
import subprocess
from contextlib import contextmanager

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from cobot.batch.manifest import read_manifest
from cobot.batch.record import MANIFEST_NAME
from cobot.errors import ImageWriteError

AFFINE = np.diag([2.0, 2.0, 4.0, 1.0])


def save(array, path, affine=AFFINE, **header):
    image = nib.Nifti1Image(array, affine)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)


def noise(shape=(40, 36, 4), dtype=np.int16):
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def truncated(folder):
    save(noise(), folder / "whole.nii.gz")
    data = (folder / "whole.nii.gz").read_bytes()
    (folder / "whole.nii.gz").unlink()
    (folder / "bad.nii.gz").write_bytes(data[: len(data) // 2])


def not_finite(folder):
    voxels = noise(dtype=np.float32)
    voxels[0, 0, 0], voxels[1, 1, 1] = np.nan, np.inf
    save(voxels, folder / "bad.nii.gz")


def colours(folder):
    voxels = np.zeros((8, 8, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    save(voxels, folder / "bad.nii.gz")


def no_affine(folder):
    save(noise(), folder / "bad.nii.gz")
    image = nib.load(folder / "bad.nii.gz")
    header = image.header.copy()
    header["sform_code"] = 1
    for row in ("srow_x", "srow_y", "srow_z"):
        header[row] = 0
    data = np.asarray(image.dataobj)
    with gzip.open(folder / "bad.nii.gz", "wb") as stream:
        stream.write(header.binaryblock + b"\0\0\0\0" + data.tobytes(order="F"))


def wrong_extension(folder):
    save(noise(), folder / "whole.nii.gz")
    (folder / "whole.nii.gz").rename(folder / "bad.nrrd")


def damaged_gzip(folder):
    truncated(folder)
    data = bytearray((folder / "bad.nii.gz").read_bytes())
    data[40:48] = b"\xff" * 8
    (folder / "bad.nii.gz").write_bytes(data)


BAD = {
    "damaged gzip": (damaged_gzip, "is damaged or incomplete"),
    "truncated gzip": (truncated, "is damaged or incomplete"),
    "NaN and infinity": (not_finite, "NaN, infinite"),
    "4D": (lambda folder: save(noise((8, 8, 4, 3)), folder / "bad.nii.gz"), "has 4 axes"),
    "2D": (lambda folder: save(noise((8, 8)), folder / "bad.nii.gz"), "is a 2D picture"),
    "zero bytes": (lambda folder: (folder / "bad.nii.gz").touch(), r"is empty \(0 bytes\)"),
    "RGB": (colours, "holds colours"),
    "wrong extension": (wrong_extension, "could not be read"),
    "singular affine": (no_affine, "affine"),
    "a link to nowhere": (
        lambda folder: (folder / "bad.nii.gz").symlink_to(folder / "gone.nii.gz"),
        "cannot be read",
    ),
    "a link to itself": (
        lambda folder: (folder / "bad.nii.gz").symlink_to(folder / "bad.nii.gz"),
        "cannot be read",
    ),
}


@pytest.fixture
def batch(tmp_path):
    """A folder with one good image, and where to put results."""
    folder = tmp_path / "in"
    folder.mkdir()
    save(noise(), folder / "good.nii.gz")
    return folder, tmp_path / "out"


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_reported_and_the_rest_goes_on(kind, batch, segment, box_everywhere):
    folder, out = batch
    spoil, message = BAD[kind]
    spoil(folder)
    summary = segment(folder, out=out, source=box_everywhere("liver"))
    assert dict(summary.counts) == {"done": 1, "failed": 1}
    record = read_manifest(out)["bad"]
    assert re.search(message, record.error), record.error
    assert "bad" in record.input
    assert not (out / "bad").exists()


def scaled(folder):
    save(noise(), folder / "odd.nii.gz", scl_slope=2.0, scl_inter=-100.0)


def meta_image(folder):
    image = sitk.GetImageFromArray(noise().T)
    sitk.WriteImage(image, str(folder / "odd.mha"))


GOOD = {
    "scaled": scaled,
    "unsigned": lambda folder: save(noise(dtype=np.uint16), folder / "odd.nii.gz"),
    "float64": lambda folder: save(noise(dtype=np.float64), folder / "odd.nii.gz"),
    "4D of one frame": lambda folder: save(noise((40, 36, 4, 1)), folder / "odd.nii.gz"),
    "MetaImage": meta_image,
}


@pytest.mark.parametrize("kind", GOOD)
def test_unusual_files_are_segmented(kind, batch, segment, box_everywhere):
    folder, out = batch
    GOOD[kind](folder)
    summary = segment(folder, out=out, source=box_everywhere("liver"))
    assert dict(summary.counts) == {"done": 2}
    assert nib.load(out / "odd" / "odd.nii.gz").shape == (40, 36, 4)


def test_a_single_slice_is_a_volume(batch, segment, mask_prompts, tmp_path):
    folder, out = batch
    (folder / "good.nii.gz").unlink()
    save(noise((40, 36, 1)), folder / "one.nii.gz")
    coarse = tmp_path / "coarse"
    coarse.mkdir()
    mask = np.zeros((40, 36, 1), np.uint8)
    mask[5:20, 5:20] = 1
    save(mask, coarse / "one.nii.gz")
    assert dict(segment(folder, out=out, source=mask_prompts).counts) == {"done": 1}
    record = read_manifest(out)["one"]
    assert record.labels == {1: "label_1"}
    assert list(record.confidence["label_1"]) == [0]


def test_an_empty_coarse_mask_gives_an_empty_mask_and_a_warning(
    batch, segment, mask_prompts, tmp_path
):
    folder, out = batch
    (tmp_path / "coarse").mkdir()
    save(np.zeros((40, 36, 4), np.uint8), tmp_path / "coarse" / "good.nii.gz")
    assert dict(segment(folder, out=out, source=mask_prompts).counts) == {"done": 1}
    (warning,) = read_manifest(out)["good"].warnings
    assert "nothing was asked of this image" in warning
    assert not np.asarray(nib.load(out / "good" / "good.nii.gz").dataobj).any()


def nothing_half_written(out):
    visible = [path for path in out.iterdir() if not path.name.startswith(".")]
    return all(path.name in (MANIFEST_NAME, "history") for path in visible)


@contextmanager
def largest_file(size_bytes):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_the_system_refuses_ends_the_run_with_one_error(
    batch, segment, box_everywhere
):
    folder, out = batch
    with largest_file(100), pytest.raises(ImageWriteError, match="could not be written"):
        segment(folder, out=out, source=box_everywhere("liver"))
    assert nothing_half_written(out)
    assert dict(segment(folder, out=out, source=box_everywhere("liver")).counts) == {"done": 1}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own; needs the right to mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=160k", "tmpfs", str(place)]
    if mount is None or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("no right to mount a small tmpfs here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_ends_the_run_with_one_error_and_the_next_goes_on(
    studies, small_disk, segment, box_everywhere
):
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 110_000)
    out = small_disk / "out"
    with pytest.raises(ImageWriteError, match="(?i)no space left"):
        segment(studies, out=out, source=box_everywhere("liver"))
    before = {name for name, one in read_manifest(out).items() if one.status == "done"}
    filler.unlink()
    summary = segment(studies, out=out, source=box_everywhere("liver"))
    assert summary.counts["done before"] == len(before)
    assert sum(summary.counts.values()) == 3
    assert not summary.failed


def test_an_output_folder_that_cannot_be_made_is_refused(batch, segment, box_everywhere, tmp_path):
    folder, _ = batch
    (tmp_path / "file").touch()
    with pytest.raises(ImageWriteError, match="--output .*file.* cannot be written"):
        segment(folder, out=tmp_path / "file" / "out", source=box_everywhere("liver"))


def test_a_folder_mounted_read_only_is_refused(small_disk, batch, segment, box_everywhere):
    folder, _ = batch
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ImageWriteError, match="--output .* cannot be written: Read-only"):
        segment(folder, out=small_disk, source=box_everywhere("liver"))
