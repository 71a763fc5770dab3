"""Enhanced CT and MR: one file, many frames; written by highdicom, read as its slices are."""

import shutil
from contextlib import suppress

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from cobot.errors import ImageReadError
from cobot.io import read_dicom_files, read_grid, read_volume, scan_series
from cobot.io.dicom_algorithm import Algorithm
from cobot.io.dicom_seg import read_dicom_seg, write_dicom_seg
from cobot.io.rtstruct import write_rtstruct
from cobot.volume import LabelMap
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_pixel_data_frame
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, RLELossless, generate_uid

TURNED = [0.8, 0.6, 0, -0.48, 0.64, 0.6]
OBLIQUE = {
    "ImageOrientationPatient": TURNED,
    "ImagePositionPatient": lambda n: (
        np.array([5.0, 6, 7]) + 3 * n * np.cross(TURNED[:3], TURNED[3:])
    ).tolist(),
}
SHUFFLED = (3, 0, 4, 1, 2)
"""Frames may lie in the file in any order."""


WANTED_BY_HIGHDICOM = {
    "FrameOfReferenceUID": "1.2.3.4",
    "StudyInstanceUID": "1.2.77",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    **dict.fromkeys(("PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber"), ""),
    **dict.fromkeys(("StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"), ""),
    **dict.fromkeys(("Manufacturer", "InstanceNumber"), None),
}


def convert(files, path, order=None, series="1.2.88"):
    """Write slices as one legacy converted enhanced CT."""
    slices = [pydicom.dcmread(file) for file in files]
    for one in slices:
        for keyword, value in WANTED_BY_HIGHDICOM.items():
            if keyword not in one:
                setattr(one, keyword, value)
    enhanced = hd.legacy.LegacyConvertedEnhancedCTImage(
        slices, series, 1, generate_uid(), 1, slices[0].file_meta.TransferSyntaxUID
    )
    if order is not None:
        shuffle(enhanced, order)
    path.parent.mkdir(parents=True, exist_ok=True)
    enhanced.save_as(path)
    return path


def shuffle(enhanced, order):
    groups = enhanced.PerFrameFunctionalGroupsSequence
    enhanced.PerFrameFunctionalGroupsSequence = Sequence([groups[at] for at in order])
    size = 2 * enhanced.Rows * enhanced.Columns
    frames = [enhanced.PixelData[at * size : (at + 1) * size] for at in range(len(groups))]
    enhanced.PixelData = b"".join(frames[at] for at in order)


def edited(path, edit):
    """The file with its dataset changed."""
    dataset = pydicom.dcmread(path)
    edit(dataset)
    dataset.save_as(path)
    return path


def own_groups(dataset):
    return dataset.PerFrameFunctionalGroupsSequence


@pytest.fixture
def enhanced(tmp_path, hu, write_ct_series):
    """One file of `hu`, its frames out of order, beside no other."""
    return convert(write_ct_series(tmp_path / "slices", hu), tmp_path / "ct" / "IM1", SHUFFLED)


@pytest.mark.parametrize("fields", [{}, OBLIQUE], ids=["axial", "oblique"])
@pytest.mark.parametrize("order", [None, (4, 3, 2, 1, 0), SHUFFLED], ids=["", "down", "shuffled"])
def test_it_is_read_as_the_slices_it_was_made_from(tmp_path, hu, write_ct_series, fields, order):
    slices = write_ct_series(tmp_path / "slices", hu, **fields)
    file = convert(slices, tmp_path / "ct" / "IM1", order)
    expected = read_volume(tmp_path / "slices")
    np.testing.assert_array_equal(expected.voxels, hu.transpose(1, 0, 2))
    for volume in (read_volume(file), read_volume(file.parent), read_dicom_files([file])):
        np.testing.assert_array_equal(volume.voxels, expected.voxels)
        np.testing.assert_array_equal(volume.affine, expected.affine)
        assert volume.voxels.dtype == np.int16
    np.testing.assert_array_equal(read_grid(file).affine, expected.affine)


def test_itk_sees_every_voxel_at_the_same_place(tmp_path, hu, write_ct_series):
    file = convert(write_ct_series(tmp_path / "slices", hu, **OBLIQUE), tmp_path / "IM1")
    volume, image = read_volume(file), sitk.ReadImage(str(file))
    to_ijk = np.linalg.inv(volume.affine)
    for index in np.ndindex(*image.GetSize()):
        lps = np.array(image.TransformIndexToPhysicalPoint(tuple(map(int, index))))
        ijk = to_ijk @ [*(lps * [-1, -1, 1]), 1]
        np.testing.assert_allclose(ijk, np.round(ijk), atol=1e-3)
        assert volume.voxels[tuple(np.round(ijk[:3]).astype(int))] == image[index]


@pytest.mark.parametrize("compressor", ["JPEG2000", "JPEG", "RLE"])
def test_compressed_frames_are_the_same(tmp_path, write_ct_series, compress, compressor):
    """JPEG means lossless JPEG here; pydicom decodes RLE, GDCM the others."""
    hu = np.random.default_rng(0).integers(-1000, 1500, (16, 24, 4)).astype(np.int16)
    file = convert(write_ct_series(tmp_path / "slices", hu), tmp_path / "ct" / "IM1")
    if compressor == "RLE":
        edited(file, lambda dataset: dataset.compress(RLELossless))
    else:
        compress([file], compressor)
    edited(file, rescaled_in_turn)
    assert pydicom.dcmread(file).file_meta.TransferSyntaxUID.is_compressed
    expected = (hu + 1024) * np.array([1, 2, 3, 4]) - 1024
    np.testing.assert_array_equal(read_volume(file).voxels, expected.transpose(1, 0, 2))


@pytest.mark.parametrize("name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_signed_frames_of_other_programs(tmp_path, write_ct_series, name):
    """Slices that pydicom ships, put into one file as they are."""
    shipped = pydicom.dcmread(get_testdata_file(name, download=False))
    plain = pydicom.dcmread(get_testdata_file("MR_small.dcm", download=False))
    assert shipped.PixelRepresentation == 1
    (stream,) = generate_pixel_data_frame(shipped.PixelData)
    hu = np.zeros((shipped.Rows, shipped.Columns, 3), np.int16)
    file = convert(write_ct_series(tmp_path / "slices", hu), tmp_path / "ct" / "IM1")

    def filled(dataset):
        for keyword in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
            dataset[keyword] = shipped[keyword]
        dataset.PixelData = encapsulate(3 * [stream])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = shipped.file_meta.TransferSyntaxUID

    volume = read_volume(edited(edited(file, filled), rescaled_in_turn))
    for k in range(3):
        expected = plain.pixel_array.astype(int) * (k + 1) - 1024
        np.testing.assert_array_equal(volume.voxels[:, :, k].T, expected)


def rescaled_in_turn(dataset):
    """As PET-like MR and some CT are stored: each frame with a slope of its own."""
    for number, groups in enumerate(own_groups(dataset), 1):
        groups.PixelValueTransformationSequence[0].RescaleSlope = number


def test_each_frame_is_rescaled_in_its_own_way(tmp_path, hu, write_ct_series):
    file = convert(write_ct_series(tmp_path / "slices", hu), tmp_path / "ct" / "IM1")
    edited(file, rescaled_in_turn)
    expected = (hu + 1024) * np.array([1, 2, 3, 4, 5]) - 1024
    np.testing.assert_array_equal(read_volume(file).voxels, expected.transpose(1, 0, 2))


def test_an_mr_whose_groups_stand_elsewhere(enhanced, hu):
    """What all frames share may stand in each, and the other way; an MR may have no rescaling."""

    def move(dataset):
        dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
        dataset.SOPClassUID, dataset.Modality = EnhancedMRImageStorage, "MR"
        (shared,) = dataset.SharedFunctionalGroupsSequence
        for groups in own_groups(dataset):
            groups.PlaneOrientationSequence = shared.PlaneOrientationSequence
            groups.PixelMeasuresSequence = shared.PixelMeasuresSequence
            del groups.PixelValueTransformationSequence
        del dataset.SharedFunctionalGroupsSequence

    volume = read_volume(edited(enhanced, move))
    np.testing.assert_array_equal(volume.voxels, hu.transpose(1, 0, 2) + 1024)
    np.testing.assert_allclose(np.diag(volume.affine), [-0.8, -0.7, 2.5, 1])
    assert [found.modality for found in scan_series(enhanced.parent).series] == ["MR"]


def test_a_scan_finds_it_and_counts_its_frames(tmp_path, hu, write_ct_series, enhanced):
    slices = write_ct_series(tmp_path / "two", hu[:, :, :2])
    convert(slices, tmp_path / "ct" / "IM2", series="1.2.2")
    shutil.copy(enhanced, tmp_path / "ct" / "IM3")
    scan = scan_series(tmp_path / "ct")
    assert [(found.uid, found.paths) for found in scan.series] == [("1.2.88", (enhanced,))]
    assert [skip.reason for skip in scan.skipped] == [
        "2 slices; expected at least 3",
        "1 files in . are copies of files in .; they are read once",
    ]
    assert not any(skip.fault for skip in scan.skipped)


def test_a_survey_in_three_directions_is_a_localizer(tmp_path, hu, write_ct_series):
    slices = write_ct_series(tmp_path / "slices", hu, SeriesDescription="Survey")

    def turn(dataset):
        for groups, rows in zip(own_groups(dataset), (0, 0, 1, 1, 1), strict=True):
            orientation = Dataset()
            orientation.ImageOrientationPatient = [1, 0, 0, 0, 1 - rows, -rows]
            groups.PlaneOrientationSequence = [orientation]

    edited(convert(slices, tmp_path / "ct" / "IM1"), turn)
    scan = scan_series(tmp_path / "ct")
    assert scan.series == ()
    assert scan.skipped[0].reason == "a localizer: 5 pictures in 2 orientations"


def test_one_volume_in_two_files(tmp_path, hu, write_ct_series):
    slices = write_ct_series(tmp_path / "slices", hu)
    files = [
        convert(slices[:2], tmp_path / "ct" / "part_2"),
        convert(slices[2:], tmp_path / "ct" / "part_1"),
    ]
    (found,) = scan_series(tmp_path / "ct").series
    assert set(found.paths) == set(files)
    volume = read_dicom_files(found.paths)
    np.testing.assert_array_equal(volume.voxels, hu.transpose(1, 0, 2))
    with pytest.raises(ImageReadError, match="one volume in 2 multi-frame files.*NIfTI or RTSTR"):
        write_dicom_seg(labelled(volume), files, tmp_path / "seg.dcm", Algorithm())
    assert not (tmp_path / "seg.dcm").exists()


def at_one_place(dataset):
    own_groups(dataset)[1].PlanePositionSequence = own_groups(dataset)[2].PlanePositionSequence


def without_one(dataset):
    del dataset.PerFrameFunctionalGroupsSequence[1]


def without_a_place(dataset):
    del own_groups(dataset)[1].PlanePositionSequence


def far_away(dataset):
    own_groups(dataset)[2].PlanePositionSequence[0].ImagePositionPatient = [-20, -30, 30]


def without_spacing(dataset):
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence


def without_pixels(dataset):
    dataset.PixelData = dataset.PixelData[:-30]


FAULTS = {
    "two phases": (
        at_one_place,
        r"frame [23] and IM1 frame [23] lie at the same position.*phases, echoes.*with dcm2niix",
    ),
    "a frame not described": (without_one, "says that it has 5 frames and describes 4"),
    "a frame nowhere": (without_a_place, "IM1 frame 2 has no usable ImagePositionPatient"),
    "a gap": (far_away, r"misses slices between IM1 frame 1 and IM1 frame 3 \(.*with dcm2niix"),
    "no spacing": (without_spacing, "IM1 frame 1 has no usable PixelSpacing"),
    "cut short": (without_pixels, "IM1 is damaged or cut short"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_refusals_name_the_frame_and_the_cure(enhanced, fault):
    edit, message = FAULTS[fault]
    with pytest.raises(ImageReadError, match=message) as refused:
        read_volume(edited(enhanced, edit))
    assert "Secret" not in str(refused.value)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_anywhere_it_is_read_or_refused_in_words(enhanced, damaged):
    """Nothing else may be raised; what is cut short is never read."""
    whole = enhanced.read_bytes()
    for content in damaged(whole, 40, 132):
        enhanced.write_bytes(content)
        scan_series(enhanced.parent)
        read = None
        with suppress(ImageReadError):
            read = read_volume(enhanced)
        assert read is None or len(content) == len(whole)


def labelled(volume):
    values = np.random.default_rng(0).choice([0, 0, 2, 5], volume.shape)
    return LabelMap(values.astype(np.uint8), volume.affine, {2: "liver", 5: "spleen"})


@pytest.mark.parametrize("fields", [{}, OBLIQUE], ids=["axial", "oblique"])
def test_a_segmentation_names_the_frames(tmp_path, hu, write_ct_series, fields):
    """Read back by us, by position, and by highdicom, by the number of the frame."""
    slices = write_ct_series(tmp_path / "slices", hu, **fields)
    file = convert(slices, tmp_path / "ct" / "IM1", SHUFFLED)
    label_map = labelled(read_volume(file))
    write_dicom_seg(label_map, [file], tmp_path / "seg.dcm", Algorithm())
    back = read_dicom_seg(tmp_path / "seg.dcm", [file])
    np.testing.assert_array_equal(back.voxels, label_map.voxels)
    np.testing.assert_array_equal(back.affine, label_map.affine)
    image = pydicom.dcmread(file)
    pixels = hd.seg.segread(tmp_path / "seg.dcm").get_pixels_by_source_frame(
        image.SOPInstanceUID, [1, 2, 3, 4, 5], assert_missing_frames_are_empty=True
    )
    for frame, k in enumerate(SHUFFLED):
        for number, value in ((0, 2), (1, 5)):
            expected = label_map.voxels[:, :, k].T == value
            np.testing.assert_array_equal(pixels[frame, :, :, number].astype(bool), expected)


def test_contours_name_the_frames(tmp_path, enhanced):
    label_map = labelled(read_volume(enhanced))
    write_rtstruct(label_map, [enhanced], tmp_path / "rtstruct.dcm", Algorithm())
    image, structures = pydicom.dcmread(enhanced), pydicom.dcmread(tmp_path / "rtstruct.dcm")
    (frame_of_reference,) = structures.ReferencedFrameOfReferenceSequence
    (study,) = frame_of_reference.RTReferencedStudySequence
    (listed,) = study.RTReferencedSeriesSequence[0].ContourImageSequence
    assert listed.ReferencedSOPInstanceUID == image.SOPInstanceUID
    seen = set()
    for structure in structures.ROIContourSequence:
        for contour in structure.ContourSequence:
            (reference,) = contour.ContourImageSequence
            assert reference.ReferencedSOPInstanceUID == image.SOPInstanceUID
            groups = own_groups(image)[reference.ReferencedFrameNumber - 1]
            assert contour.ContourData[2] == groups.PlanePositionSequence[0].ImagePositionPatient[2]
            seen.add(reference.ReferencedFrameNumber)
    assert seen == {1, 2, 3, 4, 5}
