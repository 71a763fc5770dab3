"""What goes wrong with files between being found and being read, and names of every kind."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest
from cobot.errors import ImageReadError
from cobot.io import nifti as nifti_module
from cobot.io import (
    read_dicom_files,
    read_grid,
    read_label_map,
    read_volume,
    scan_series,
    write_label_map,
)
from cobot.volume import LabelMap

AFFINE = np.diag([-2.0, 2.0, 5.0, 1.0])
SLOPE = 112
"""Where scl_slope and scl_inter stand in the header."""

NAMES = {1: "left kidney", 2: "foie é", 3: "肝臓", 4: "a/b: 'c' \"d\" = 5; %20 #"}


def saved(path, voxels):
    nib.save(nib.Nifti1Image(voxels, AFFINE), path)
    return path


def patched(path, voxels, slope, intercept):
    """A file whose stored numbers are `voxels`, whatever the slope: nibabel would divide by it."""
    raw = bytearray(nib.Nifti1Image(voxels, AFFINE).to_bytes())
    raw[SLOPE : SLOPE + 8] = struct.pack("<2f", slope, intercept)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f4", "f8"])
def test_every_stored_type_is_scaled(tmp_path, dtype):
    stored = np.arange(60, dtype=dtype).reshape(3, 4, 5)
    read = read_volume(patched(tmp_path / "image.nii", stored, 2.0, -1024.0))
    assert read.voxels.dtype == np.float32
    np.testing.assert_array_equal(read.voxels, stored.astype(float) * 2 - 1024)


@pytest.mark.parametrize("slope", [0.0, float("nan")])
def test_a_slope_that_scales_nothing(tmp_path, slope):
    """The standard: 0 means that the numbers are not scaled."""
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    read = read_volume(patched(tmp_path / "image.nii", stored, slope, 0.0))
    assert read.voxels.dtype == np.int16
    np.testing.assert_array_equal(read.voxels, stored)


def test_labels_in_a_scaled_header(tmp_path):
    stored = np.arange(60, dtype=np.uint8).reshape(3, 4, 5) % 3
    label_map = read_label_map(patched(tmp_path / "a.nii", stored, 2.0, 1.0))
    assert label_map.voxels.dtype == np.uint8
    np.testing.assert_array_equal(label_map.voxels, stored * 2 + 1)
    with pytest.raises(ImageReadError, match=r"is not a label map: values run from 0.0 to 1.0"):
        read_label_map(patched(tmp_path / "b.nii", stored, 0.5, 0.0))


def test_no_cut_of_a_packed_file_is_taken_for_the_whole(tmp_path):
    whole = saved(tmp_path / "whole.nii.gz", np.arange(6000, dtype=np.int16).reshape(20, 30, 10))
    content = whole.read_bytes()
    cut = tmp_path / "cut.nii.gz"
    for size in [*range(3, len(content), len(content) // 12), len(content) - 1]:
        cut.write_bytes(content[:size])
        with pytest.raises(ImageReadError, match="cut.nii.gz is damaged or incomplete"):
            read_volume(cut)
    assert read_volume(whole).shape == (20, 30, 10)


def test_rubbish_behind_a_packed_file(tmp_path):
    whole = saved(tmp_path / "whole.nii.gz", np.zeros((3, 4, 5), np.int16))
    whole.write_bytes(whole.read_bytes() + b"rubbish")
    with pytest.raises(ImageReadError, match="is damaged or incomplete"):
        read_volume(whole)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_label_names_with_spaces_signs_and_scripts(tmp_path, suffix):
    voxels = (np.arange(60) % 5).astype(np.uint8).reshape(3, 4, 5)
    write_label_map(LabelMap(voxels, AFFINE, NAMES), tmp_path / f"mask{suffix}")
    back = read_label_map(tmp_path / f"mask{suffix}")
    assert back.labels == NAMES
    np.testing.assert_array_equal(back.voxels, voxels)


@pytest.mark.parametrize(
    "name", ["with space.nii.gz", "bañera 肝.nii.gz", "a.b.c.nii.gz", "-x.nii.gz"]
)
def test_file_names_of_every_kind(tmp_path, name):
    saved(tmp_path / name, np.ones((3, 4, 5), np.int16))
    assert read_volume(tmp_path / name).shape == (3, 4, 5)


@pytest.mark.parametrize("name", ["image.nii.gz", "image.nrrd", "image.dcm", "folder"])
def test_a_link_to_itself(tmp_path, name):
    (tmp_path / name).symlink_to(tmp_path / name)
    for read in (read_volume, read_grid):
        with pytest.raises(ImageReadError, match=f"{name} does not exist; check the name"):
            read(tmp_path / name)


def test_a_file_that_vanishes_while_it_is_read(tmp_path, monkeypatch):
    path = saved(tmp_path / "image.nii.gz", np.ones((3, 4, 5), np.int16))
    payload = nifti_module._payload

    def vanishing(file):
        file.unlink()
        return payload(file)

    monkeypatch.setattr(nifti_module, "_payload", vanishing)
    with pytest.raises(ImageReadError, match="image.nii.gz is gone since it was found"):
        read_volume(path)


def test_a_slice_that_vanishes_after_the_scan(tmp_path, hu, write_ct_series):
    files = write_ct_series(tmp_path, hu)
    (found,) = scan_series(tmp_path).series
    files[2].unlink()
    with pytest.raises(ImageReadError, match="slice_098.dcm is gone since it was found"):
        read_dicom_files(found.paths)


def test_a_disk_that_fails(tmp_path, monkeypatch):
    path = saved(tmp_path / "image.nii", np.ones((3, 4, 5), np.int16))

    def failing(file):
        raise OSError(5, "Input/output error", str(file))

    monkeypatch.setattr(nifti_module, "_payload", failing)
    with pytest.raises(ImageReadError, match=r"image.nii cannot be read \(Input/output error\)"):
        read_volume(path)


def test_a_folder_named_like_a_file(tmp_path):
    (tmp_path / "image.nii.gz").mkdir()
    with pytest.raises(ImageReadError, match="image.nii.gz holds no DICOM file; expected"):
        read_volume(tmp_path / "image.nii.gz")


def test_packed_voxels_of_another_header(tmp_path):
    """The header promises more than there is: a copy that stopped and was packed all the same."""
    raw = nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), AFFINE).to_bytes()
    (tmp_path / "image.nii.gz").write_bytes(gzip.compress(raw[:-20]))
    with pytest.raises(ImageReadError, match="image.nii.gz is damaged or incomplete"):
        read_volume(tmp_path / "image.nii.gz")
