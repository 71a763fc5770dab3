"""DICOM series: known voxels at known places, and every refusal with its files and its cure."""

from contextlib import suppress

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from cobot.errors import ImageReadError
from cobot.geometry import axis_codes, ras_from_ijk
from cobot.io import read_volume, scan_series
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import (
    JPEGLosslessSV1,
    MRImageStorage,
    RLELossless,
    RTDoseStorage,
    RTPlanStorage,
    SegmentationStorage,
)


def test_voxels_are_hu_in_the_order_of_position(tmp_path, hu, write_ct_series):
    write_ct_series(tmp_path, hu)
    volume = read_volume(tmp_path)
    assert volume.voxels.dtype == np.int16
    assert volume.voxels.flags.writeable
    np.testing.assert_array_equal(volume.voxels, hu.transpose(1, 0, 2))


def test_affine_is_ras_by_hand(tmp_path, hu, write_ct_series):
    write_ct_series(tmp_path, hu)
    volume = read_volume(tmp_path)
    expected = [[-0.8, 0, 0, 20], [0, -0.7, 0, 30], [0, 0, 2.5, -10], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.affine, expected, atol=1e-12)
    assert axis_codes(volume.affine) == "LPS"


def test_agrees_with_simpleitk(tmp_path, hu, write_ct_series):
    turned = [0.8, 0.6, 0, -0.48, 0.64, 0.6]
    normal = np.cross(turned[:3], turned[3:])
    write_ct_series(
        tmp_path,
        hu,
        ImageOrientationPatient=turned,
        ImagePositionPatient=lambda n: (np.array([5.0, 6, 7]) + 3 * n * normal).tolist(),
    )
    volume = read_volume(tmp_path)
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path)))
    np.testing.assert_array_equal(volume.voxels, sitk.GetArrayFromImage(image).T)
    for ijk in ([0, 0, 0], [2, 3, 4]):
        lps = np.array(image.TransformIndexToPhysicalPoint(ijk))
        np.testing.assert_allclose(
            ras_from_ijk(volume.affine, np.array([ijk]))[0], lps * [-1, -1, 1], atol=1e-9
        )


def test_slices_that_run_downwards_are_turned(tmp_path, hu, write_ct_series):
    write_ct_series(tmp_path, hu, ImagePositionPatient=lambda n: [-20, -30, 40 - 2.5 * n])
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels, hu.transpose(1, 0, 2)[:, :, ::-1])
    assert volume.affine[2, 3] == 30


def test_one_file_stands_for_its_series(tmp_path, hu, write_ct_series):
    wanted = write_ct_series(tmp_path / "a", hu)
    other = write_ct_series(tmp_path / "b", hu[:, :, :2] + 7)
    for file in other:
        file.rename(tmp_path / "a" / f"other_{file.name}")
    volume = read_volume(wanted[2])
    np.testing.assert_array_equal(volume.voxels, hu.transpose(1, 0, 2))


def test_file_without_suffix_and_without_series_uid(tmp_path, hu, write_ct_series):
    files = write_ct_series(tmp_path, hu, SeriesInstanceUID="")
    for number, file in enumerate(files):
        file.rename(tmp_path / f"IM{number}")
    assert read_volume(tmp_path / "IM3").shape == (3, 4, 5)


def test_other_files_and_objects_without_picture_are_passed_over(tmp_path, hu, write_ct_series):
    write_ct_series(tmp_path, hu)
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "empty").touch()
    (tmp_path / "inside").mkdir()
    plan = write_ct_series(tmp_path / "plan", hu[:, :, :1], storage=RTPlanStorage, Rows=None)
    plan[0].rename(tmp_path / "plan.dcm")
    assert read_volume(tmp_path).shape == (3, 4, 5)


def test_slope_that_differs_by_slice(tmp_path, hu, write_ct_series):
    write_ct_series(tmp_path, hu, RescaleSlope=lambda n: n + 0.5, RescaleIntercept=0)
    volume = read_volume(tmp_path)
    assert volume.voxels.dtype == np.float32
    expected = (hu.astype(float) + 1024) * (np.arange(5) + 0.5)
    np.testing.assert_allclose(volume.voxels, expected.transpose(1, 0, 2))


def test_large_whole_numbers_keep_their_value(tmp_path, hu, write_ct_series):
    write_ct_series(tmp_path, hu, RescaleSlope=100, RescaleIntercept=None)
    volume = read_volume(tmp_path)
    assert volume.voxels.dtype == np.int32
    np.testing.assert_array_equal(
        volume.voxels, (hu.transpose(1, 0, 2).astype(np.int32) + 1024) * 100
    )


@pytest.mark.parametrize("above", [0, 0b1010])
def test_bits_above_those_stored_are_no_part_of_the_value(tmp_path, write_ct_series, above):
    """Old scanners put overlays there; signed values may end there without their sign spread."""
    values = np.array([[[-1000], [-5]], [[0], [2000]]])
    unsigned = ((values + 1024) | above << 12).astype("<u2").tobytes()
    stated = {"BitsStored": 12, "HighBit": 11}
    write_ct_series(tmp_path / "unsigned", values, PixelData=unsigned, **stated)
    signed = ((values & 0xFFF) | above << 12).astype("<u2").tobytes()
    stated |= {"PixelRepresentation": 1, "RescaleIntercept": 0}
    write_ct_series(tmp_path / "signed", values, PixelData=signed, **stated)
    for kind in ("unsigned", "signed"):
        np.testing.assert_array_equal(read_volume(tmp_path / kind).voxels[..., 0].T, values[..., 0])


def test_values_at_the_upper_bits(tmp_path, hu, write_ct_series):
    pixels = ((hu[:, :, :1] + 1024) << 4).astype("<u2").tobytes()
    stated = {"BitsStored": 12, "HighBit": 15, "PixelData": pixels}
    write_ct_series(tmp_path, hu[:, :, :1], **stated)
    np.testing.assert_array_equal(read_volume(tmp_path).voxels[..., 0].T, hu[:, :, 0])


def test_single_slice_takes_its_thickness(tmp_path, hu, write_ct_series):
    (file,) = write_ct_series(tmp_path, hu[:, :, :1])
    assert read_volume(file).spacing_mm == (0.8, 0.7, 5.0)


def test_single_slice_without_thickness_is_refused(tmp_path, hu, write_ct_series):
    (file,) = write_ct_series(tmp_path, hu[:, :, :1], SliceThickness=None)
    with pytest.raises(ImageReadError, match="single slice without SliceThickness; give the fold"):
        read_volume(file)


@pytest.mark.parametrize("storage", [None, MRImageStorage])
def test_run_length_compressed(tmp_path, hu, write_ct_series, storage):
    """The decoder applies slope and intercept itself, once, for CT and for other classes."""
    for file in write_ct_series(tmp_path, hu):
        dataset = pydicom.dcmread(file)
        dataset.compress(RLELossless)
        if storage:
            dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = storage
        dataset.save_as(file)
    np.testing.assert_array_equal(read_volume(tmp_path).voxels, hu.transpose(1, 0, 2))


def test_undecodable_compression_names_the_packages(tmp_path, hu, write_ct_series):
    for file in write_ct_series(tmp_path, hu):
        dataset = pydicom.dcmread(file)
        dataset.PixelData = encapsulate([b"\xff\xd8not a JPEG\xff\xd9"])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        dataset.save_as(file)
    with pytest.raises(ImageReadError, match=r"slice_100.dcm is compressed .*pip install pylib"):
        read_volume(tmp_path)


def unreadable(field, kind="DS"):
    """A number with a decimal comma, as some programs write it."""
    return RawDataElement(Tag(field), kind, 4, b"2,50", 0, False, True)


def test_a_thickness_that_nobody_needs_may_be_unreadable(tmp_path, hu, write_ct_series):
    write_ct_series(tmp_path, hu, SliceThickness=lambda _: unreadable("SliceThickness"))
    assert read_volume(tmp_path).spacing_mm[2] == pytest.approx(2.5)


FAULTS = {
    "localizer": (
        {"ImageOrientationPatient": lambda n: [1, 0, 0, 0, 1, 0] if n else [0, 1, 0, 0, 0, -1]},
        r"different orientations: slice_096.dcm, .* and 1 more against slice_100.dcm. Leave out",
    ),
    "two series": (
        {"SeriesInstanceUID": lambda n: f"1.2.{n % 2}"},
        r"several series: slice_096.dcm.* against slice_097.dcm, slice_099.dcm. Give one file",
    ),
    "two spacings": (
        {"PixelSpacing": lambda n: [0.7, 0.8 + 0.1 * (n == 2)]},
        r"different pixel spacing: .* against slice_098.dcm",
    ),
    "duplicate": (
        {"ImagePositionPatient": lambda n: [-20, -30, 2.5 * min(n, 3)]},
        r"slice_09[67].dcm and slice_09[67].dcm lie at the same position.*Remove the copy",
    ),
    "missing slice": (
        {"ImagePositionPatient": lambda n: [-20, -30, 2.5 * (n + (n > 2))]},
        r"misses slices between slice_098.dcm and slice_097.dcm \(5.00 mm\).*2.50 mm. Copy",
    ),
    "uneven": (
        {"ImagePositionPatient": lambda n: [-20, -30, 2.5 * n + 0.4 * (n == 2)]},
        r"slice_098.dcm lies 0.40 mm off an even grid of 2.50 mm",
    ),
    "tilted gantry": (
        {"ImagePositionPatient": lambda n: [-20, -30 + 0.5 * n, 2.5 * n]},
        r"slice_096.dcm lies 2.00 mm beside the stack .*\(11.3 degrees\): a tilted gantry",
    ),
    "no position": ({"ImagePositionPatient": None}, "no usable ImagePositionPatient"),
    "no orientation": ({"ImageOrientationPatient": None}, "no usable ImageOrientationPatient"),
    "no spacing": ({"PixelSpacing": None}, "no usable PixelSpacing"),
    "zero spacing": ({"PixelSpacing": [0, 1]}, "PixelSpacing .* must be positive"),
    "skewed axes": (
        {"ImageOrientationPatient": [1, 0, 0, 0.6, 0.8, 0]},
        "not two perpendicular unit vectors",
    ),
    "no number for the slope": (
        {"RescaleSlope": lambda _: unreadable("RescaleSlope")},
        "no usable RescaleSlope and RescaleIntercept",
    ),
    "no number of frames": (
        {"NumberOfFrames": lambda _: unreadable("NumberOfFrames", "IS")},
        "no usable NumberOfFrames",
    ),
    "many frames": ({"NumberOfFrames": 2}, "multi-frame DICOM file.*dcm2niix"),
    "colour": ({"SamplesPerPixel": 3}, "colour picture"),
    "no pixels": ({"PixelData": None}, "has no pixel data; export"),
    "only objects": (
        {"storage": RTPlanStorage, "Rows": None},
        "objects without pixel data only, such as slice_096.dcm",
    ),
    "cut short": ({"PixelData": b"\0\0"}, "slice_100.dcm is damaged or cut short"),
}


@pytest.mark.filterwarnings("ignore:Invalid value for VR IS")
@pytest.mark.parametrize("fault", FAULTS)
def test_refusals_name_files_and_cure(tmp_path, hu, write_ct_series, fault):
    fields, message = FAULTS[fault]
    write_ct_series(tmp_path, hu, **fields)
    with pytest.raises(ImageReadError, match=message) as refused:
        read_volume(tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert "Secret" not in str(refused.value)


ROUNDING = {
    "positions to a tenth": {"ImagePositionPatient": lambda n: [-20, -30, round(0.625 * n, 1)]},
    "a drift of rounding": {"ImagePositionPatient": lambda n: [-20, -30 + 0.02 * n, 2.5 * n]},
    "cosines to three decimals": {
        "ImageOrientationPatient": lambda n: [1, 0.001 * (n % 2), 0, 0, 1, 0]
    },
    "spacing to three decimals": {"PixelSpacing": lambda n: [0.7, 0.8 + 0.0005 * (n % 2)]},
}


@pytest.mark.parametrize("case", ROUNDING)
def test_rounding_is_not_a_fault(tmp_path, hu, write_ct_series, case):
    write_ct_series(tmp_path, hu, **ROUNDING[case])
    assert read_volume(tmp_path).shape == (3, 4, 5)


def test_different_sizes_are_refused(tmp_path, hu, write_ct_series):
    write_ct_series(tmp_path, hu, SeriesInstanceUID="1.2.3")
    (large,) = write_ct_series(tmp_path / "b", np.zeros((8, 8, 1)), SeriesInstanceUID="1.2.3")
    large.rename(tmp_path / "large.dcm")
    with pytest.raises(ImageReadError, match=r"different sizes: .* against slice_096.*|large.dcm"):
        read_volume(tmp_path)


def test_folder_without_dicom(tmp_path):
    with pytest.raises(ImageReadError, match="no DICOM file.*Give the folder that holds them"):
        read_volume(tmp_path)
    (tmp_path / "series_1").mkdir()
    with pytest.raises(ImageReadError, match="Give one of the folders inside: series_1"):
        read_volume(tmp_path)


def test_object_without_picture_given_as_file(tmp_path, hu, write_ct_series):
    files = write_ct_series(tmp_path, hu, storage=RTPlanStorage, Rows=None)
    with pytest.raises(ImageReadError, match=r"slice_100.dcm is a DICOM object without pixel"):
        read_volume(files[0])


def test_header_cut_off(tmp_path, hu, write_ct_series):
    files = write_ct_series(tmp_path, hu)
    files[1].write_bytes(files[1].read_bytes()[:400])
    with pytest.raises(ImageReadError, match="slice_099.dcm says .* it is cut short. Copy"):
        read_volume(tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_anywhere_a_slice_is_read_or_refused_in_words(
    tmp_path, hu, write_ct_series, damaged
):
    """Nothing else may be raised."""
    file = write_ct_series(tmp_path, hu)[2]
    for content in damaged(file.read_bytes(), 20, 132):
        file.write_bytes(content)
        scan_series(tmp_path)
        with suppress(ImageReadError):
            read_volume(file)


def test_no_patient_field_is_logged(tmp_path, hu, write_ct_series, caplog):
    caplog.set_level("DEBUG")
    write_ct_series(tmp_path, hu)
    read_volume(tmp_path)
    assert "Secret" not in caplog.text


@pytest.mark.parametrize(
    ("size", "message"),
    [(140, "does not say what kind of object it is"), (400, "says that it is an image")],
)
def test_cut_end_slice_is_not_passed_over(tmp_path, hu, write_ct_series, size, message):
    """Without it the positions are still even: the volume would silently be shorter."""
    files = write_ct_series(tmp_path, hu)
    files[0].write_bytes(files[0].read_bytes()[:size])
    with pytest.raises(ImageReadError, match=f"slice_100.dcm {message}"):
        read_volume(tmp_path)


def test_segmentation_and_dose_beside_the_slices_are_passed_over(tmp_path, hu, write_ct_series):
    """Both have rows and columns, and frames."""
    write_ct_series(tmp_path, hu)
    for name, storage in (("seg", SegmentationStorage), ("dose", RTDoseStorage)):
        (file,) = write_ct_series(tmp_path / name, hu[:, :, :1], storage=storage, NumberOfFrames=5)
        file.rename(tmp_path / f"{name}.dcm")
    assert read_volume(tmp_path).shape == (3, 4, 5)
