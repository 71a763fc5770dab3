"""Label maps as DICOM structure sets (RTSTRUCT): contours on the very slices of the images.

Written with pydicom. rt-utils writes contours through the centres of border pixels, half a pixel
too small on every side, swaps the two pixel spacings, and cannot read back a single pixel:
lib/decisions/0016-dicom.md has the measurement.
"""

import colorsys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid
from scipy import ndimage

from cobot.atomic import atomic_path
from cobot.io.contours import outlines
from cobot.io.dicom_algorithm import MAKER, Algorithm, long_string, unique_long_strings
from cobot.io.dicom_codes import ABNORMAL_STRUCTURE, structure_code
from cobot.io.dicom_headers import SliceHeader
from cobot.io.dicom_source import DicomSource, carry_patient, labels_with_voxels, read_source
from cobot.shapes import PointsXy
from cobot.volume import LabelMap

SERIES_NUMBER = 9002
"""High, so that archives list the result behind the scanner's series."""

DECIMALS_MM = 4
"""A tenth of a micrometre; the number fits into the 16 characters of a decimal string."""

STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"
"""The class that the standard wants named for a referenced study (Detached Study Management)."""


def write_rtstruct(
    label_map: LabelMap, source: Sequence[Path], file: Path, algorithm: Algorithm
) -> None:
    """Write a label map as one RTSTRUCT, whole or not at all.

    The number of a structure is its value in the map. Labels without a voxel are left out, and a
    warning names them.

    Args:
        label_map: on the grid of the images.
        source: the slices of the series, in any order, as `scan_series` found them.
        file: where to write; usually ends in .dcm.
        algorithm: what made the map.

    Raises:
        GridMismatchError: the map is not on the images' grid, has unnamed values or no voxel.
        ImageReadError: the images cannot be read.
        ImageWriteError: the folder cannot be written.
    """
    images = read_source(source)
    images.require_grid(label_map)
    images.warn_of_new_uids()
    labels = labels_with_voxels(label_map)
    structures = _structure_set(images, algorithm)
    names = unique_long_strings(list(labels.values()))
    extents = ndimage.find_objects(label_map.voxels)
    for (value, label), name in zip(labels.items(), names, strict=True):
        structures.StructureSetROISequence.append(_roi(value, label, name, images, algorithm))
        structures.ROIContourSequence.append(
            _contours(value, label_map, extents[value - 1], images)
        )
        structures.RTROIObservationsSequence.append(_observation(value, label))
    carry_patient(images, structures)
    with atomic_path(file) as partial:
        structures.save_as(partial, write_like_original=False)


def _structure_set(images: DicomSource, algorithm: Algorithm) -> FileDataset:
    """Everything but patient and structures."""
    first, now = images.slices[0], datetime.now()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    # With explicit types a contour of more than 64 KiB would have no length.
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    structures = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    structures.is_little_endian, structures.is_implicit_VR = True, True
    structures.SOPClassUID = meta.MediaStorageSOPClassUID
    structures.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    structures.Modality = "RTSTRUCT"
    structures.Manufacturer = MAKER
    structures.ManufacturerModelName = algorithm.name
    structures.SoftwareVersions = algorithm.version
    structures.StudyInstanceUID = first.StudyInstanceUID
    structures.SeriesInstanceUID = generate_uid()
    structures.SeriesNumber = SERIES_NUMBER
    structures.SeriesDescription = algorithm.name
    structures.OperatorsName = ""
    structures.InstanceNumber = 1
    structures.FrameOfReferenceUID = first.FrameOfReferenceUID
    structures.PositionReferenceIndicator = first.get("PositionReferenceIndicator") or ""
    structures.StructureSetLabel = "SEGMENTATION"
    structures.StructureSetDescription = "Segmentation for research, not for clinical use"
    structures.StructureSetDate = f"{now:%Y%m%d}"
    structures.StructureSetTime = f"{now:%H%M%S}"
    structures.ApprovalStatus = "UNAPPROVED"
    structures.ReferencedFrameOfReferenceSequence = [_references(images)]
    structures.StructureSetROISequence = []
    structures.ROIContourSequence = []
    structures.RTROIObservationsSequence = []
    return structures


def _references(images: DicomSource) -> Dataset:
    """The frame of reference, study, series and slices that the contours were drawn on."""
    first = images.slices[0]
    series = Dataset()
    series.SeriesInstanceUID = first.SeriesInstanceUID
    instances = {dataset.SOPInstanceUID: dataset for dataset in images.slices}
    series.ContourImageSequence = [_image(dataset) for dataset in instances.values()]
    study = Dataset()
    study.ReferencedSOPClassUID = STUDY_COMPONENT
    study.ReferencedSOPInstanceUID = first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = first.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _image(dataset: Dataset, frame: int | None = None) -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID = dataset.SOPClassUID
    image.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    if frame is not None:
        image.ReferencedFrameNumber = frame
    return image


def _roi(value: int, label: str, name: str, images: DicomSource, algorithm: Algorithm) -> Dataset:
    roi = Dataset()
    roi.ROINumber = value
    roi.ReferencedFrameOfReferenceUID = images.slices[0].FrameOfReferenceUID
    roi.ROIName = name
    roi.ROIDescription = f"Label {value} of the label map: {label}"
    roi.ROIGenerationAlgorithm = "AUTOMATIC" if algorithm.automatic else "SEMIAUTOMATIC"
    roi.ROIGenerationDescription = long_string(f"{algorithm.name} {algorithm.version}")
    return roi


def _contours(
    value: int, label_map: LabelMap, extent: tuple[slice, slice, slice], images: DicomSource
) -> Dataset:
    contours: list[Dataset] = []
    cols, rows, ks = extent
    for k in range(ks.start, ks.stop):
        header, dataset = images.grid.slices[k], images.slices[k]
        mask = label_map.voxels[cols, rows, k].T == value
        for corners in outlines(mask) if mask.any() else ():
            contour = Dataset()
            contour.ContourNumber = len(contours) + 1
            contour.ContourImageSequence = [_image(dataset, header.frame)]
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(corners)
            corners_mm = _patient_mm(corners + (cols.start, rows.start), header)
            contour.ContourData = corners_mm.ravel().tolist()
            contours.append(contour)
    structure = Dataset()
    structure.ReferencedROINumber = value
    structure.ROIDisplayColor = _colour(value)
    structure.ContourSequence = contours
    return structure


def _patient_mm(corners: PointsXy, header: SliceHeader) -> Float64[np.ndarray, "n 3"]:
    """Corners in LPS millimetres: x counts columns, y rows."""
    row_mm, col_mm = header.spacing_mm
    steps = header.orientation_lps * [[col_mm], [row_mm]]
    # Adding zero turns -0.0 into 0.0.
    return np.round(header.position_lps_mm + corners @ steps, DECIMALS_MM) + 0.0


def _observation(value: int, label: str) -> Dataset:
    code = structure_code(label)
    observation = Dataset()
    observation.ObservationNumber = value
    observation.ReferencedROINumber = value
    observation.RTROIInterpretedType = "GTV" if code.category == ABNORMAL_STRUCTURE else "ORGAN"
    observation.ROIInterpreter = ""
    identification = _coded(code.kind)
    if code.side is not None:
        identification.SegmentedPropertyTypeModifierCodeSequence = [_coded(code.side)]
    observation.RTROIIdentificationCodeSequence = [identification]
    return observation


def _coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def _colour(value: int) -> list[int]:
    """A bright colour for a value; the golden section keeps neighbours apart."""
    return [round(255 * part) for part in colorsys.hsv_to_rgb(value * 0.618034 % 1, 0.75, 1.0)]
