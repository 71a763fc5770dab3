"""The one way in and out: formats, label values and names, what is left after a failure."""

import os
from contextlib import suppress

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from cobot.errors import GridMismatchError, ImageReadError, ImageWriteError
from cobot.io import read_grid, read_label_map, read_volume, write_label_map
from cobot.volume import LabelMap

LAS = np.array([[-1.25, 0, 0, 192.5], [0, 1.25, 0, -200.5], [0, 0, 7.5, -77], [0, 0, 0, 1]])
VALUES = (np.arange(60).reshape(3, 4, 5) % 4).astype(np.uint8)


def drawn(values=VALUES, labels=None):
    return LabelMap(
        values, LAS, {1: "liver", 2: "spleen", 3: "kidney"} if labels is None else labels
    )


def test_missing_file(tmp_path):
    with pytest.raises(ImageReadError, match="none.nii.gz does not exist; check the name"):
        read_volume(tmp_path / "none.nii.gz")


def test_empty_file(tmp_path):
    (tmp_path / "image.nii.gz").touch()
    with pytest.raises(ImageReadError, match=r"image.nii.gz is empty \(0 bytes\); copy"):
        read_volume(tmp_path / "image.nii.gz")


def test_other_formats_are_listed(tmp_path):
    (tmp_path / "image.png").write_bytes(b"\x89PNG" * 100)
    with pytest.raises(ImageReadError, match=r"image.png is not .*\.nii, \.nii\.gz, \.nrrd.*DICOM"):
        read_volume(tmp_path / "image.png")


def test_suffix_in_capitals(tmp_path):
    write_label_map(drawn(), tmp_path / "MASK.NII.GZ")
    np.testing.assert_array_equal(read_volume(tmp_path / "MASK.NII.GZ").voxels, VALUES)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_forbidden_file(tmp_path):
    (tmp_path / "image.nii").write_bytes(b"x")
    (tmp_path / "image.nii").chmod(0)
    with pytest.raises(ImageReadError, match="may not be read by this user"):
        read_volume(tmp_path / "image.nii")


def test_dicom_image_and_masks_in_every_format(tmp_path, hu, write_ct_series):
    write_ct_series(tmp_path / "ct", hu)
    image = read_volume(tmp_path / "ct")
    mask = LabelMap((image.voxels > 0).astype(np.uint8), image.affine, {1: "bone"})
    for name in ("mask.nii.gz", "mask.nii", "mask.nrrd", "mask.mha"):
        write_label_map(mask, tmp_path / name, like=tmp_path / "ct")
        again = read_label_map(tmp_path / name)
        again.require_same_grid(image)
        np.testing.assert_array_equal(again.voxels, mask.voxels)
        assert again.labels == {1: "bone"}


def test_mask_of_another_format_than_its_image(tmp_path):
    write_label_map(drawn(), tmp_path / "image.mha")
    write_label_map(drawn(), tmp_path / "mask.nii.gz", like=tmp_path / "image.mha")
    assert np.array_equal(read_volume(tmp_path / "mask.nii.gz").affine, LAS)
    write_label_map(drawn(), tmp_path / "mask.nrrd", like=tmp_path / "mask.nii.gz")
    np.testing.assert_allclose(read_volume(tmp_path / "mask.nrrd").affine, LAS, atol=1e-12)


@pytest.mark.parametrize("kind", ["nii.gz", "mha", "dicom"])
def test_like_of_another_shape_is_refused(tmp_path, hu, write_ct_series, kind):
    if kind == "dicom":
        like = write_ct_series(tmp_path / "ct", hu)[0]
    else:
        like = tmp_path / f"image.{kind}"
        write_label_map(drawn(VALUES[:2]), like)
    with pytest.raises(GridMismatchError, match=r"is not on the image's grid \(.*\(3, 4, 5\)"):
        write_label_map(drawn(), tmp_path / "mask.nii.gz", like=like)
    assert not (tmp_path / "mask.nii.gz").exists()


@pytest.mark.parametrize(("highest", "dtype"), [(255, np.uint8), (256, np.uint16)])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_smallest_type_that_holds_the_values(tmp_path, highest, dtype, suffix):
    values = np.zeros((3, 4, 5), np.int64)
    values[1, 2, 3] = highest
    write_label_map(drawn(values, {highest: "last"}), tmp_path / f"mask{suffix}")
    assert read_volume(tmp_path / f"mask{suffix}").voxels.dtype == dtype
    again = read_label_map(tmp_path / f"mask{suffix}")
    assert again.voxels.dtype == dtype
    assert again.voxels[1, 2, 3] == highest
    assert again.labels == {highest: "last"}


@pytest.mark.parametrize("value", [-1, 65536])
def test_values_that_do_not_fit_are_not_written(tmp_path, value):
    with pytest.raises(ImageWriteError, match=f"{value}.*expected 0 to 65535. Renumber"):
        write_label_map(drawn(np.full((3, 4, 5), value), {}), tmp_path / "mask.nii.gz")


@pytest.mark.parametrize("value", [-1, 65536, 0.5])
def test_images_are_not_label_maps(tmp_path, value):
    nib.save(nib.Nifti1Image(np.full((3, 4, 5), value, np.float32), LAS), tmp_path / "image.nii")
    with pytest.raises(ImageReadError, match="image.nii is not a label map: values run from"):
        read_label_map(tmp_path / "image.nii")


def test_label_map_in_floating_point(tmp_path):
    nib.save(nib.Nifti1Image(VALUES.astype(np.float64), LAS), tmp_path / "mask.nii")
    read = read_label_map(tmp_path / "mask.nii")
    assert read.voxels.dtype == np.uint8
    np.testing.assert_array_equal(read.voxels, VALUES)


def test_names_given_stored_or_made_up(tmp_path):
    write_label_map(drawn(), tmp_path / "mask.nii.gz")
    assert read_label_map(tmp_path / "mask.nii.gz").labels[2] == "spleen"
    given = {1: "a", 2: "b", 3: "c"}
    assert read_label_map(tmp_path / "mask.nii.gz", given).labels == given
    sitk.WriteImage(sitk.GetImageFromArray(VALUES), str(tmp_path / "plain.mha"))
    made_up = {1: "label_1", 2: "label_2", 3: "label_3"}
    assert read_label_map(tmp_path / "plain.mha").labels == made_up


def test_values_that_no_given_name_covers(tmp_path):
    write_label_map(drawn(), tmp_path / "mask.nii.gz")
    with pytest.raises(ImageReadError, match=r"values \[3\] that no label names.*Name them too"):
        read_label_map(tmp_path / "mask.nii.gz", {1: "liver", 2: "spleen"})


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "tab\tbed", "null\0"])
def test_names_that_break_a_header(tmp_path, name):
    with pytest.raises(ImageWriteError, match="label 1 is called .* Rename the label"):
        write_label_map(drawn(labels={1: name}), tmp_path / "mask.nrrd")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", [".png", ".mhd", ".nhdr", ".dcm", ""])
def test_suffixes_that_are_not_written(tmp_path, suffix):
    with pytest.raises(ImageWriteError, match=r"expected one of \.nii, \.nii\.gz, \.nrrd, \.mha"):
        write_label_map(drawn(), tmp_path / f"mask{suffix}")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_missing_folder_is_named(tmp_path, suffix):
    with pytest.raises(ImageWriteError, match=f"none.mask{suffix} could not be written"):
        write_label_map(drawn(), tmp_path / "none" / f"mask{suffix}")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_failure_midway_leaves_the_older_file_alone(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"mask{suffix}"
    write_label_map(drawn(), path)
    before = path.read_bytes()

    def cut(source, target):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(ImageWriteError, match="Input/output error"):
        write_label_map(drawn(VALUES[::-1].copy()), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "nrrd", "mha"])
def test_damaged_anywhere_a_file_is_read_or_refused_in_words(tmp_path, suffix, damaged):
    """Nothing else may be raised."""
    file = tmp_path / f"mask.{suffix}"
    write_label_map(drawn(), file)
    whole = file.read_bytes()
    for content in damaged(whole, max(1, len(whole) // 40), last=600):
        file.write_bytes(content)
        for read in (read_volume, read_grid, read_label_map):
            with suppress(ImageReadError):
                read(file)


def test_a_nifti_header_of_negative_sizes_has_no_grid(tmp_path):
    file = tmp_path / "mask.nii"
    write_label_map(drawn(), file)
    content = bytearray(file.read_bytes())
    content[42:44] = (-3).to_bytes(2, "little", signed=True)
    file.write_bytes(content)
    for read in (read_volume, read_grid):
        with pytest.raises(ImageReadError, match=r"mask\.nii "):
            read(file)


def test_a_header_field_that_is_no_utf8_is_passed_over(tmp_path):
    file = tmp_path / "mask.mha"
    write_label_map(drawn(), file)
    head, mark, voxels = file.read_bytes().partition(b"ElementDataFile")
    file.write_bytes(head + "Größe = 3\n".encode("latin-1") + mark + voxels)
    np.testing.assert_array_equal(read_label_map(file).voxels, drawn().voxels)
    assert read_label_map(file).labels == drawn().labels
