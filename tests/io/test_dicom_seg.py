"""DICOM segmentations: every voxel back, read by us and by highdicom; names, codes, patient."""

from contextlib import suppress

import highdicom as hd
import numpy as np
import pydicom
import pytest
from cobot.errors import GridMismatchError, ImageReadError, ImageWriteError
from cobot.io import read_volume
from cobot.io.dicom_algorithm import Algorithm
from cobot.io.dicom_seg import read_dicom_seg, write_dicom_seg
from cobot.volume import LabelMap

ALGORITHM = Algorithm(adapter="abdomen v3", version="1.2.3")
TURNED = [0.8, 0.6, 0, -0.48, 0.64, 0.6]


@pytest.fixture
def source(tmp_path, hu, write_ct_series):
    return write_ct_series(tmp_path / "ct", hu, PatientID="Secret7", StudyInstanceUID="1.2.77")


def without_instance_uids(files):
    """As de-identified files have it: the UID stands in the file's meta information only."""
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.SOPInstanceUID = ""
        dataset.save_as(file)


def labelled(source, labels, seed=0):
    volume = read_volume(source[0].parent)
    values = np.random.default_rng(seed).choice([0, *labels], volume.shape)
    return LabelMap(values.astype(np.uint16), volume.affine, labels)


@pytest.mark.parametrize("labels", [{1: "liver"}, {3: "liver", 7: "spleen", 300: "Parotid_L"}])
def test_every_voxel_value_and_name_comes_back(tmp_path, source, labels):
    label_map = labelled(source, labels)
    write_dicom_seg(label_map, source, tmp_path / "seg.dcm", ALGORITHM)
    back = read_dicom_seg(tmp_path / "seg.dcm", source)
    np.testing.assert_array_equal(back.voxels, label_map.voxels)
    np.testing.assert_array_equal(back.affine, label_map.affine)
    assert back.labels == labels


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"ImagePositionPatient": lambda n: [-20, -30, 40 - 2.5 * n]},
        {
            "ImageOrientationPatient": TURNED,
            "ImagePositionPatient": lambda n: (
                np.array([5.0, 6, 7]) + 3 * n * np.cross(TURNED[:3], TURNED[3:])
            ).tolist(),
        },
    ],
    ids=["axial", "downwards", "oblique"],
)
def test_highdicom_finds_the_mask_on_the_source_slices(tmp_path, hu, write_ct_series, fields):
    """An independent reader, asked by the instance that each slice of the image is."""
    source = write_ct_series(tmp_path / "ct", hu, **fields)
    label_map = labelled(source, {2: "liver", 5: "spleen"})
    write_dicom_seg(label_map, source, tmp_path / "seg.dcm", ALGORITHM)
    segmentation = hd.seg.segread(tmp_path / "seg.dcm")
    for file in source:
        image = pydicom.dcmread(file)
        pixels = segmentation.get_pixels_by_source_instance(
            [image.SOPInstanceUID], assert_missing_frames_are_empty=True
        )[0]
        affine = label_map.affine
        position_ras = np.array(image.ImagePositionPatient, float) * [-1, -1, 1]
        k = round((np.linalg.inv(affine) @ [*position_ras, 1])[2])
        for number, value in ((1, 2), (2, 5)):
            expected = label_map.voxels[:, :, k].T == value
            np.testing.assert_array_equal(pixels[:, :, number - 1].astype(bool), expected)


def test_segments_are_coded_and_say_what_made_them(tmp_path, source):
    labels = {1: "Parotid_L", 2: "some thing"}
    write_dicom_seg(labelled(source, labels), source, tmp_path / "seg.dcm", ALGORITHM)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    parotid, thing = dataset.SegmentSequence
    assert dataset.SegmentationType == "BINARY"
    kind = parotid.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("45289007", "SCT")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert thing.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    assert parotid.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert parotid.SegmentAlgorithmName == "SAM-COBOT abdomen v3"
    identification = parotid.SegmentationAlgorithmIdentificationSequence[0]
    assert identification.AlgorithmVersion == "1.2.3"
    assert identification.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Artificial Intelligence"
    automatic = Algorithm(automatic=True)
    write_dicom_seg(labelled(source, labels), source, tmp_path / "auto.dcm", automatic)
    segment = pydicom.dcmread(tmp_path / "auto.dcm").SegmentSequence[0]
    assert (segment.SegmentAlgorithmType, segment.SegmentAlgorithmName) == (
        "AUTOMATIC",
        "SAM-COBOT",
    )


def test_names_of_every_length_and_script(tmp_path, source):
    labels = {1: "foie gauche é", 2: "肝臓", 3: "x" * 80, 4: "x" * 90, 5: "a\\b with spaces"}
    write_dicom_seg(labelled(source, labels), source, tmp_path / "seg.dcm", ALGORITHM)
    short = [s.SegmentLabel for s in pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence]
    assert short == ["foie gauche é", "肝臓", "x" * 64, "x" * 62 + "~2", "a/b with spaces"]
    assert read_dicom_seg(tmp_path / "seg.dcm", source).labels == labels


def test_patient_and_study_are_those_of_the_images(tmp_path, hu, write_ct_series, caplog):
    caplog.set_level("DEBUG", logger="cobot")
    name = "Иванов^Пётр"
    with pytest.warns(UserWarning, match="Invalid value for VR DA"):
        source = write_ct_series(
            tmp_path / "ct",
            hu,
            SpecificCharacterSet="ISO_IR 144",
            PatientName=name,
            PatientID="7",
            PatientBirthDate="not a date",
            StudyInstanceUID="1.2.77",
            FrameOfReferenceUID="1.2.78",
            PatientAddress="Secret Street",
        )
    write_dicom_seg(labelled(source, {1: "liver"}), source, tmp_path / "seg.dcm", ALGORITHM)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    dataset.decode()
    assert dataset.PatientName == name
    assert dataset.PatientID == "7"
    assert (dataset.StudyInstanceUID, dataset.FrameOfReferenceUID) == ("1.2.77", "1.2.78")
    assert dataset.SeriesInstanceUID != pydicom.dcmread(source[0]).SeriesInstanceUID
    assert "PatientAddress" not in dataset
    assert "not a date" not in caplog.text
    assert "Иванов" not in caplog.text


def test_uids_that_the_series_lacks_are_the_same_each_time(tmp_path, hu, write_ct_series, caplog):
    source = write_ct_series(tmp_path / "ct", hu, SeriesInstanceUID="")
    without_instance_uids(source)
    for name in ("a", "b"):
        write_dicom_seg(labelled(source, {1: "liver"}), source, tmp_path / name, ALGORITHM)
    first, second = (pydicom.dcmread(tmp_path / name) for name in ("a", "b"))
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert "has no StudyInstanceUID, SeriesInstanceUID, FrameOfReferenceUID" in caplog.text
    instance = first.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    meta = {pydicom.dcmread(file).file_meta.MediaStorageSOPInstanceUID for file in source}
    assert instance.ReferencedSOPInstanceUID in meta


def test_labels_without_voxels_are_left_out_and_named(tmp_path, source, caplog):
    label_map = labelled(source, {1: "liver"})
    both = LabelMap(label_map.voxels, label_map.affine, {1: "liver", 2: "spleen"})
    write_dicom_seg(both, source, tmp_path / "seg.dcm", ALGORITHM)
    assert "for want of voxels: spleen" in caplog.text
    assert read_dicom_seg(tmp_path / "seg.dcm", source).labels == {1: "liver"}


def test_what_is_not_written(tmp_path, source):
    label_map = labelled(source, {1: "liver"})
    nothing = LabelMap(np.zeros_like(label_map.voxels), label_map.affine, {1: "liver"})
    unnamed = LabelMap(label_map.voxels, label_map.affine, {2: "spleen"})
    for wrong, message in (
        (nothing, "background only"),
        (unnamed, r"values \[1\] that no label names"),
        (LabelMap(label_map.voxels[:, :, 1:], label_map.affine, {1: "liver"}), "image's grid"),
    ):
        with pytest.raises(GridMismatchError, match=message):
            write_dicom_seg(wrong, source, tmp_path / "seg.dcm", ALGORITHM)
    with pytest.raises(ImageWriteError, match="could not be written"):
        write_dicom_seg(label_map, source, tmp_path / "no" / "seg.dcm", ALGORITHM)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct"]


def test_a_shifted_map_is_not_written(tmp_path, source):
    label_map = labelled(source, {1: "liver"})
    affine = label_map.affine.copy()
    affine[0, 3] += 0.4
    with pytest.raises(GridMismatchError, match="not on the image's grid"):
        write_dicom_seg(
            LabelMap(label_map.voxels, affine, {1: "liver"}), source, tmp_path / "s", ALGORITHM
        )


def test_instances_without_uid_are_refused(tmp_path, hu, write_ct_series):
    source = write_ct_series(tmp_path / "ct", hu)
    label_map = labelled(source, {1: "liver"})
    without_instance_uids(source)
    dataset = pydicom.dcmread(source[1])
    dataset.file_meta.MediaStorageSOPInstanceUID = ""
    dataset.save_as(source[1])
    with pytest.raises(ImageReadError, match="slice_099.dcm has no SOPInstanceUID"):
        write_dicom_seg(label_map, source, tmp_path / "seg.dcm", ALGORITHM)


def test_reading_onto_other_images_is_refused(tmp_path, hu, source, write_ct_series):
    write_dicom_seg(labelled(source, {1: "liver"}), source, tmp_path / "seg.dcm", ALGORITHM)
    moved = write_ct_series(
        tmp_path / "moved", hu, ImagePositionPatient=lambda n: [-19.6, -30, -10 + 2.5 * n]
    )
    with pytest.raises(GridMismatchError, match="none of the 5 images, the nearest is 0.40 mm"):
        read_dicom_seg(tmp_path / "seg.dcm", moved)
    larger = write_ct_series(tmp_path / "larger", np.zeros((5, 3, 5)))
    with pytest.raises(GridMismatchError, match=r"frames of \(4, 3\) pixels"):
        read_dicom_seg(tmp_path / "seg.dcm", larger)
    with pytest.raises(ImageReadError, match="is not a DICOM segmentation"):
        read_dicom_seg(source[0], source)


def test_segments_of_other_programs_that_overlap(tmp_path, source, caplog):
    write_dicom_seg(
        labelled(source, {1: "liver", 2: "spleen"}), source, tmp_path / "seg.dcm", ALGORITHM
    )
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    for segment in dataset.SegmentSequence:
        del segment.SegmentDescription
    dataset.PixelData = b"\xff" * len(dataset.PixelData)
    dataset.save_as(tmp_path / "full.dcm")
    back = read_dicom_seg(tmp_path / "full.dcm", source)
    assert back.labels == {1: "liver", 2: "spleen"}
    assert (back.voxels == 2).all()
    assert "segments overlap in 60 voxels" in caplog.text


def test_of_a_fractional_segmentation_half_is_enough(tmp_path, source):
    everywhere = labelled(source, {4: "liver"})
    everywhere.voxels[:] = 4
    write_dicom_seg(everywhere, source, tmp_path / "seg.dcm", ALGORITHM)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    shares = np.zeros((dataset.NumberOfFrames, dataset.Rows, dataset.Columns), np.uint8)
    shares[0, 0, :3] = 180, 100, 99
    dataset.SegmentationType, dataset.MaximumFractionalValue = "FRACTIONAL", 200
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = shares.tobytes()
    dataset.save_as(tmp_path / "fractional.dcm")
    back = read_dicom_seg(tmp_path / "fractional.dcm", source)
    assert np.argwhere(back.voxels).tolist() == [[0, 0, 0], [1, 0, 0]]


def test_one_frame(tmp_path, source):
    label_map = labelled(source, {4: "liver"})
    voxels = np.zeros_like(label_map.voxels)
    voxels[1, 2, 3] = 4
    write_dicom_seg(
        LabelMap(voxels, label_map.affine, {4: "liver"}), source, tmp_path / "s", ALGORITHM
    )
    np.testing.assert_array_equal(read_dicom_seg(tmp_path / "s", source).voxels, voxels)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_anywhere_a_segmentation_is_read_or_refused_in_words(tmp_path, source, damaged):
    """Nothing else may be raised."""
    file = tmp_path / "seg.dcm"
    write_dicom_seg(labelled(source, {1: "liver"}), source, file, ALGORITHM)
    for content in damaged(file.read_bytes(), 60, 132):
        file.write_bytes(content)
        with suppress(ImageReadError, GridMismatchError):
            read_dicom_seg(file, source)
    file.unlink()
    with pytest.raises(ImageReadError, match=r"seg\.dcm is gone"):
        read_dicom_seg(file, source)
