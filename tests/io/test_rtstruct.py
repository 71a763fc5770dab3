"""Structure sets: every voxel back, through polygons alone and rt-utils; names and patient."""

import numpy as np
import pydicom
import pytest
from cobot.errors import GridMismatchError, ImageWriteError
from cobot.io import read_volume
from cobot.io.dicom_algorithm import Algorithm
from cobot.io.rtstruct import write_rtstruct
from cobot.volume import LabelMap
from matplotlib.path import Path as Polygon
from rt_utils import RTStructBuilder

ALGORITHM = Algorithm(adapter="abdomen v3", version="1.2.3")
TURNED = [0.8, 0.6, 0, -0.48, 0.64, 0.6]
ACROSS = np.cross(TURNED[:3], TURNED[3:])
GEOMETRIES = {
    "axial, oblong pixels": {},
    "downwards": {"ImagePositionPatient": lambda n: [-20, -30, 40 - 2.5 * n]},
    "oblique": {
        "ImageOrientationPatient": TURNED,
        "ImagePositionPatient": lambda n: (np.array([5.0, 6, 7]) + 3 * n * ACROSS).tolist(),
    },
}


def labelled(source, labels, seed=0):
    volume = read_volume(source[0].parent)
    values = np.random.default_rng(seed).choice([0, *labels], volume.shape)
    return LabelMap(values.astype(np.uint16), volume.affine, labels)


def filled(file, label_map):
    """The voxels whose centres lie in the contours: patient millimetres and nothing else."""
    dataset = pydicom.dcmread(file)
    voxels = np.zeros_like(label_map.voxels)
    lps_from_ijk = np.diag([-1, -1, 1, 1]) @ label_map.affine
    i, j = np.indices(voxels.shape[:2]).reshape(2, -1)
    for structure in dataset.ROIContourSequence:
        for contour in structure.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            ijk = (points - lps_from_ijk[:3, 3]) @ np.linalg.inv(lps_from_ijk[:3, :3]).T
            k = round(ijk[0, 2])
            assert np.abs(ijk[:, 2] - k).max() < 1e-3
            inside = Polygon(ijk[:, :2]).contains_points(np.column_stack([i, j]))
            voxels[i[inside], j[inside], k] = structure.ReferencedROINumber
    return voxels


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_every_voxel_comes_back_through_its_centre(tmp_path, hu, write_ct_series, geometry):
    source = write_ct_series(tmp_path / "ct", hu, **GEOMETRIES[geometry])
    label_map = labelled(source, {2: "liver", 7: "spleen"})
    write_rtstruct(label_map, source, tmp_path / "rt.dcm", ALGORITHM)
    np.testing.assert_array_equal(filled(tmp_path / "rt.dcm", label_map), label_map.voxels)


def test_every_voxel_comes_back_through_rt_utils(tmp_path, write_ct_series):
    """It reads square pictures of square pixels rightly, and those only."""
    source = write_ct_series(
        tmp_path / "ct",
        np.zeros((12, 12, 4)),
        PixelSpacing=[0.8, 0.8],
        StudyInstanceUID="1.2.3",
    )
    label_map = labelled(source, {1: "liver", 2: "spleen"})
    write_rtstruct(label_map, source, tmp_path / "rt.dcm", ALGORITHM)
    structures = RTStructBuilder.create_from(str(tmp_path / "ct"), str(tmp_path / "rt.dcm"))
    assert structures.get_roi_names() == ["liver", "spleen"]
    for value, name in label_map.labels.items():
        mask = structures.get_roi_mask_by_name(name)
        np.testing.assert_array_equal(mask.transpose(1, 0, 2), label_map.voxels == value)


def test_what_is_said_of_a_structure(tmp_path, hu, write_ct_series):
    source = write_ct_series(tmp_path / "ct", hu, FrameOfReferenceUID="1.2.78")
    labels = {3: "Parotid_L", 5: "GTVp", 9: "肝臓 " + "x" * 80}
    write_rtstruct(labelled(source, labels), source, tmp_path / "rt.dcm", ALGORITHM)
    dataset = pydicom.dcmread(tmp_path / "rt.dcm")
    rois = dataset.StructureSetROISequence
    assert [roi.ROINumber for roi in rois] == [3, 5, 9]
    assert [roi.ROIName for roi in rois] == ["Parotid_L", "GTVp", "肝臓 " + "x" * 61]
    assert rois[2].ROIDescription == f"Label 9 of the label map: {labels[9]}"
    assert rois[0].ROIGenerationAlgorithm == "SEMIAUTOMATIC"
    observations = dataset.RTROIObservationsSequence
    assert [item.RTROIInterpretedType for item in observations] == ["ORGAN", "GTV", "ORGAN"]
    code = observations[0].RTROIIdentificationCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("45289007", "SCT")
    contour = dataset.ROIContourSequence[0].ContourSequence[0]
    assert contour.NumberOfContourPoints == len(contour.ContourData) / 3
    referenced = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
    assert referenced in {pydicom.dcmread(file).SOPInstanceUID for file in source}
    assert dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID == "1.2.78"


def test_patient_and_study_are_those_of_the_images(tmp_path, hu, write_ct_series, caplog):
    caplog.set_level("DEBUG", logger="cobot")
    source = write_ct_series(
        tmp_path / "ct",
        hu,
        SpecificCharacterSet="ISO_IR 144",
        PatientName="Иванов^Пётр",
        StudyInstanceUID="1.2.77",
        PatientAddress="Secret Street",
    )
    write_rtstruct(labelled(source, {1: "liver"}), source, tmp_path / "rt.dcm", ALGORITHM)
    dataset = pydicom.dcmread(tmp_path / "rt.dcm")
    dataset.decode()
    assert dataset.PatientName == "Иванов^Пётр"
    assert dataset.StudyInstanceUID == "1.2.77"
    assert "PatientAddress" not in dataset
    assert "Иванов" not in caplog.text


def test_contours_beyond_64_kib(tmp_path, write_ct_series):
    """Comb teeth: one outline whose coordinates do not fit a length of 16 bits."""
    source = write_ct_series(tmp_path / "ct", np.zeros((128, 128, 2)))
    volume = read_volume(tmp_path / "ct")
    voxels = np.zeros(volume.shape, np.uint8)
    voxels[0, :, 0] = 1
    voxels[:, ::2, 0] = 1
    voxels[1::2, 1::4, 0] = 1
    label_map = LabelMap(voxels, volume.affine, {1: "comb"})
    write_rtstruct(label_map, source, tmp_path / "rt.dcm", ALGORITHM)
    np.testing.assert_array_equal(filled(tmp_path / "rt.dcm", label_map), voxels)


def test_what_is_not_written(tmp_path, hu, write_ct_series):
    source = write_ct_series(tmp_path / "ct", hu)
    label_map = labelled(source, {1: "liver"})
    nothing = LabelMap(np.zeros_like(label_map.voxels), label_map.affine, {1: "liver"})
    with pytest.raises(GridMismatchError, match="background only"):
        write_rtstruct(nothing, source, tmp_path / "rt.dcm", ALGORITHM)
    affine = label_map.affine.copy()
    affine[0, 3] += 0.4
    with pytest.raises(GridMismatchError, match="not on the image's grid"):
        write_rtstruct(
            LabelMap(label_map.voxels, affine, {1: "liver"}), source, tmp_path / "rt.dcm", ALGORITHM
        )
    with pytest.raises(ImageWriteError, match="could not be written"):
        write_rtstruct(label_map, source, tmp_path / "no" / "rt.dcm", ALGORITHM)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct"]
