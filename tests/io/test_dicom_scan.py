"""A folder of many series: what is found, and what is passed over with which reason."""

import os
import shutil

import numpy as np
import pydicom
import pytest
from cobot.errors import ImageReadError
from cobot.io import read_dicom_files, scan_series
from pydicom.uid import (
    ComprehensiveSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    RLELossless,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)


def faults(scan):
    return [(skip.name, skip.reason) for skip in scan.skipped if skip.fault]


def test_series_are_grouped_by_uid_at_any_depth(tmp_path, hu, write_ct_series):
    first = write_ct_series(tmp_path / "a" / "b", hu, SeriesInstanceUID="1.2.1")
    second = write_ct_series(tmp_path / "a", hu + 5, SeriesInstanceUID="1.2.2", Modality="MR")
    # Two series in one folder, as archives export them.
    for file in write_ct_series(tmp_path / "c", hu + 9, SeriesInstanceUID="1.2.3"):
        file.rename(tmp_path / "a" / f"third_{file.name}")
    scan = scan_series(tmp_path)
    assert [(found.uid, found.modality, found.folder) for found in scan.series] == [
        ("1.2.2", "MR", tmp_path / "a"),
        ("1.2.3", "CT", tmp_path / "a"),
        ("1.2.1", "CT", tmp_path / "a" / "b"),
    ]
    assert scan.series[2].paths == tuple(sorted(first))
    assert scan.series[0].paths == tuple(sorted(second))
    assert scan.skipped == ()
    voxels = read_dicom_files(scan.series[1].paths).voxels
    np.testing.assert_array_equal(voxels, (hu + 9).transpose(1, 0, 2))


def test_a_series_spread_over_folders_is_one_volume(tmp_path, hu, write_ct_series):
    """Some archives give every file a folder of its own."""
    for number, file in enumerate(write_ct_series(tmp_path / "all", hu)):
        (tmp_path / "disk" / str(number)).mkdir(parents=True)
        file.rename(tmp_path / "disk" / str(number) / "IM")
    (found,) = scan_series(tmp_path).series
    assert found.folder == tmp_path / "disk"
    np.testing.assert_array_equal(read_dicom_files(found.paths).voxels, hu.transpose(1, 0, 2))


NO_VOLUME = {
    "segmentation": (
        {"storage": SegmentationStorage, "Modality": "SEG", "NumberOfFrames": 5},
        "5 x Segmentation Storage, which holds no pictures",
    ),
    "structure set": (
        {"storage": RTStructureSetStorage, "Modality": "RTSTRUCT", "Rows": None},
        "5 x RT Structure Set Storage, which holds no pictures",
    ),
    "report": (
        {"storage": ComprehensiveSRStorage, "Modality": "SR", "Rows": None},
        "5 x Comprehensive SR Storage, which holds no pictures",
    ),
    "presentation state": (
        {"storage": GrayscaleSoftcopyPresentationStateStorage, "Modality": "PR", "Rows": None},
        "5 x Grayscale Softcopy Presentation State Storage, which holds no pictures",
    ),
    "dose": (
        {"storage": "1.2.840.10008.5.1.4.1.1.481.2", "Modality": "RTDOSE", "NumberOfFrames": 5},
        "5 x RT Dose Storage, which holds no pictures",
    ),
    "localizer": ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "5 x localizer"),
    "localizer by description": (
        {
            "SeriesDescription": "3-plane Localiser",
            "ImageOrientationPatient": lambda n: [1, 0, 0, 0, n % 2, n % 2 - 1],
        },
        "a localizer: 5 pictures in 2 orientations",
    ),
    "film": (
        {"NumberOfFrames": 3, "Modality": "US"},
        "5 x multi-frame CT Image Storage; convert",
    ),
    "screenshot": (
        {"storage": SecondaryCaptureImageStorage, "ImagePositionPatient": None},
        "5 x Secondary Capture Image Storage without a place in the patient",
    ),
    "colour": ({"SamplesPerPixel": 3}, "5 x colour CT Image Storage"),
    "other modality": ({"Modality": "PT"}, "modality PT; segmented are CT, MR"),
}


@pytest.mark.parametrize("kind", NO_VOLUME)
def test_what_is_no_volume_is_listed_with_its_reason(tmp_path, hu, write_ct_series, kind):
    fields, reason = NO_VOLUME[kind]
    write_ct_series(tmp_path / "ct", hu)
    write_ct_series(tmp_path / "other", hu, SeriesInstanceUID="1.2.9", **fields)
    scan = scan_series(tmp_path)
    assert [found.folder.name for found in scan.series] == ["ct"]
    (skip,) = scan.skipped
    assert skip.name == "other [1.2.9]"
    assert skip.reason.startswith(reason)
    assert not skip.fault


def test_a_ct_of_several_frames_is_a_fault(tmp_path, hu, write_ct_series):
    write_ct_series(tmp_path / "ct", hu[:, :, :1], NumberOfFrames=3)
    ((_, reason),) = faults(scan_series(tmp_path))
    assert reason.startswith("1 x multi-frame CT Image Storage; convert it to NIfTI")


def test_other_modalities_and_short_series_can_be_asked_for(tmp_path, hu, write_ct_series):
    write_ct_series(tmp_path / "pet", hu, Modality="PT")
    write_ct_series(tmp_path / "two", hu[:, :, :2])
    scan = scan_series(tmp_path)
    assert [skip.reason for skip in scan.skipped] == [
        "modality PT; segmented are CT, MR",
        "2 slices; expected at least 3",
    ]
    scan = scan_series(tmp_path, modalities=("CT", "PT"), min_slices=2)
    assert [found.modality for found in scan.series] == ["PT", "CT"]
    assert scan.skipped == ()


def test_a_description_alone_makes_no_localizer(tmp_path, hu, write_ct_series):
    write_ct_series(tmp_path, hu, SeriesDescription="axial after scout")
    assert len(scan_series(tmp_path).series) == 1


def test_localizers_inside_a_series_are_left_out_and_said(tmp_path, hu, write_ct_series):
    kinds = {3: ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    files = write_ct_series(
        tmp_path, hu, ImageType=lambda n: kinds.get(n % 4, ["ORIGINAL", "PRIMARY", "AXIAL"])
    )
    scan = scan_series(tmp_path)
    assert scan.series[0].paths == tuple(sorted(set(files) - {files[3]}))
    assert [skip.reason for skip in scan.skipped] == ["1 x localizer"]


def test_copies_in_two_folders_are_read_once_and_said(tmp_path, hu, write_ct_series):
    files = write_ct_series(tmp_path / "a", hu)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    scan = scan_series(tmp_path)
    (found,) = scan.series
    assert found.paths == tuple(sorted(files))
    (skip,) = scan.skipped
    assert skip.reason == "5 files in b are copies of files in a; they are read once"
    assert not skip.fault


def test_a_copy_that_is_stored_otherwise_is_a_copy(tmp_path, hu, write_ct_series):
    files = write_ct_series(tmp_path / "a", hu)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    dataset = pydicom.dcmread(tmp_path / "b" / files[0].name)
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(tmp_path / "b" / files[0].name)
    scan = scan_series(tmp_path)
    assert faults(scan) == []
    assert len(scan.series[0].paths) == 5


def test_the_same_instance_with_other_pixels_is_refused_by_name(tmp_path, hu, write_ct_series):
    files = write_ct_series(tmp_path / "a", hu, SeriesInstanceUID="1.2.3")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    dataset = pydicom.dcmread(tmp_path / "b" / files[2].name)
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(tmp_path / "b" / files[2].name)
    scan = scan_series(tmp_path)
    assert scan.series == ()
    ((name, reason),) = faults(scan)
    assert name == ". [1.2.3]"
    assert f"a/{files[2].name} and b/{files[2].name} have the same SOPInstanceUID" in reason


@pytest.mark.parametrize(
    ("fields", "shared"),
    [({}, "the same position"), ({"StudyInstanceUID": "1.9"}, "different StudyInstanceUIDs")],
)
def test_one_series_uid_for_two_scans_is_refused_by_name(
    tmp_path, hu, write_ct_series, fields, shared
):
    write_ct_series(tmp_path / "a", hu, SeriesInstanceUID="1.2.3", StudyInstanceUID="1.8")
    again = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.8"} | fields
    write_ct_series(tmp_path / "b", hu + 1, **again)
    scan = scan_series(tmp_path)
    assert scan.series == ()
    ((_, reason),) = faults(scan)
    assert f"have {shared}. Give their folders one at a time" in reason
    assert len(scan_series(tmp_path / "a").series) == 1


def test_links_that_run_in_a_circle(tmp_path, hu, write_ct_series):
    write_ct_series(tmp_path / "a" / "b", hu)
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a" / "b", target_is_directory=True)
    (tmp_path / "a" / "broken.dcm").symlink_to(tmp_path / "nowhere")
    scan = scan_series(tmp_path)
    assert [len(found.paths) for found in scan.series] == [5]
    assert [name for name, _ in faults(scan)] == ["a/broken.dcm"]


def test_a_tree_of_links_is_a_tree_of_files(tmp_path, hu, write_ct_series):
    files = write_ct_series(tmp_path / "store", hu)
    (tmp_path / "linked").mkdir()
    for number, file in enumerate(files):
        (tmp_path / "linked" / f"{number}.dcm").symlink_to(file)
    (found,) = scan_series(tmp_path / "linked").series
    assert found.folder == tmp_path / "linked"
    assert read_dicom_files(found.paths).shape == (3, 4, 5)


def test_unreadable_files_are_listed_and_the_rest_is_found(tmp_path, hu, write_ct_series):
    write_ct_series(tmp_path / "good", hu)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "empty.dcm").touch()
    (tmp_path / "bad" / "text.IMA").write_text("hello")
    (tmp_path / "bad" / "cut").write_bytes(b"\0" * 128 + b"DICM\x02\x00\x00\x00UL\x04")
    (tmp_path / "bad" / "notes.txt").write_text("not meant to be DICOM")
    scan = scan_series(tmp_path)
    assert [found.folder.name for found in scan.series] == ["good"]
    assert [name for name, _ in faults(scan)] == ["bad/cut", "bad/empty.dcm", "bad/text.IMA"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_forbidden_folder_is_listed(tmp_path, hu, write_ct_series):
    write_ct_series(tmp_path / "good", hu)
    (tmp_path / "closed").mkdir(mode=0)
    assert faults(scan_series(tmp_path)) == [("closed", "cannot be listed: Permission denied")]


@pytest.mark.parametrize("size", [140, 400])
def test_a_damaged_end_slice_is_refused_and_not_passed_over(tmp_path, hu, write_ct_series, size):
    """Without it the positions are still even: the volume would silently be shorter."""
    files = write_ct_series(tmp_path, hu)
    files[0].write_bytes(files[0].read_bytes()[:size])
    (found,) = scan_series(tmp_path).series
    assert len(found.paths) == 5
    with pytest.raises(ImageReadError, match="slice_100.dcm"):
        read_dicom_files(found.paths)


def test_no_patient_field_is_told(tmp_path, hu, write_ct_series, caplog):
    caplog.set_level("DEBUG")
    write_ct_series(tmp_path / "a", hu, PatientID="Secret7")
    write_ct_series(tmp_path / "b", hu, storage=SegmentationStorage, PatientID="Secret7")
    assert "Secret" not in repr(scan_series(tmp_path)) + caplog.text


def test_no_folder_and_no_file(tmp_path):
    with pytest.raises(ImageReadError, match="nowhere is not a folder; expected one that holds"):
        scan_series(tmp_path / "nowhere")
    assert scan_series(tmp_path).series == ()
    with pytest.raises(ImageReadError, match="No file is given; expected the slices"):
        read_dicom_files(())
