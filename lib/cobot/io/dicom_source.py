"""The images that a DICOM segmentation or structure set belongs to.

Patient and study are copied from the images because the standard asks for it, and go nowhere
else: no message, log or name holds them.
"""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

from cobot.errors import GridMismatchError, ImageReadError
from cobot.io.dicom_grid import SliceGrid
from cobot.io.dicom_headers import GEOMETRY_TAGS, read_dataset, slices_of, storage_class
from cobot.io.dicom_series import dicom_files_grid
from cobot.io.voxels import empty_volume
from cobot.volume import LabelMap

logger = logging.getLogger(__name__)

PATIENT_TAGS = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
STUDY_TAGS = (
    *("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"),
    "StudyDescription",
)
REFERENCE_TAGS = (
    *("SOPInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "PositionReferenceIndicator"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
FILLED_TAGS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
"""Derived from the instances where a de-identified series has none."""

UTF8 = "ISO_IR 192"


@dataclass(frozen=True, slots=True, eq=False)
class DicomSource:
    """The slices of one series, in the order of the voxels' k.

    Attributes:
        slices: geometry and references of each slice; no pixels, and no patient.
        patient: the patient's and the study's fields, decoded.
        grid: where the voxels lie.
        new_uids: which UIDs the series lacks; `slices` hold derived ones, the same each time.
    """

    slices: tuple[Dataset, ...]
    patient: Dataset
    grid: SliceGrid
    new_uids: tuple[str, ...]

    @property
    def positions_lps_mm(self) -> Float64[np.ndarray, "k 3"]:
        """The centre of each slice's first pixel."""
        return np.array([header.position_lps_mm for header in self.grid.slices])

    def warn_of_new_uids(self) -> None:
        """Say that an archive may not recognise what belongs to these images."""
        if self.new_uids:
            logger.warning(
                "%s has no %s; the DICOM objects made from it get their own, and an archive may "
                "not show them with the images.",
                self.grid.slices[0].path.parent,
                ", ".join(self.new_uids),
            )

    def require_grid(self, label_map: LabelMap) -> None:
        """Refuse a map that was not drawn on these slices.

        Raises:
            GridMismatchError: shape or affine differ.
        """
        rows, cols = self.grid.slices[0].shape
        shape = (cols, rows, len(self.slices))
        label_map.require_same_grid(
            empty_volume(shape, self.grid.affine, self.grid.slices[0].path.parent)
        )


def read_source(paths: Sequence[Path]) -> DicomSource:
    """Read the headers of the images.

    Args:
        paths: the slices of one series, in any order.

    Raises:
        ImageReadError: they are no volume, or a slice has no SOPInstanceUID to refer to.
    """
    grid = dicom_files_grid(paths)
    with warnings.catch_warnings():
        # pydicom's warnings quote values, which may be the patient's.
        warnings.simplefilter("ignore")
        files = {file: _references(file) for file in grid.paths}
        slices = tuple(files[one.path][(one.frame or 1) - 1] for one in grid.slices)
        patient = read_dataset(
            grid.slices[0].path,
            ("SOPClassUID", "Rows", "SpecificCharacterSet", *PATIENT_TAGS, *STUDY_TAGS),
        )
        patient.decode()
    return DicomSource(slices, patient, grid, new_uids=_fill(slices))


def carry_patient(source: DicomSource, target: Dataset) -> None:
    """Copy patient and study into a new object of the same study, in UTF-8.

    Fields that the standard wants, but that the images lack, are there and empty.
    """
    target.SpecificCharacterSet = UTF8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword in (*PATIENT_TAGS, *STUDY_TAGS):
            if keyword in source.patient:
                target[keyword] = source.patient[keyword]
            elif keyword != "StudyDescription":
                setattr(target, keyword, "")


def labels_with_voxels(label_map: LabelMap) -> dict[int, str]:
    """The labels that a DICOM object can hold: those with voxels, by value.

    A warning names the others.

    Raises:
        GridMismatchError: a value has no name, or there is nothing but background.
    """
    found: set[int] = set()
    for k in range(label_map.voxels.shape[2]):
        found.update(np.unique(label_map.voxels[:, :, k]).tolist())
    found.discard(0)
    unnamed = sorted(found - set(label_map.labels))
    if unnamed:
        raise GridMismatchError(
            f"The label map holds values {unnamed} that no label names; known are "
            f"{dict(label_map.labels)}. Name them, or set them to 0."
        )
    if not found:
        raise GridMismatchError(
            "The label map holds background only, and a DICOM object needs one structure at least; "
            "expected a voxel of a label. Write the empty mask as NIfTI."
        )
    empty = [name for value, name in sorted(label_map.labels.items()) if value not in found]
    if empty:
        logger.warning("Left out of the DICOM object, for want of voxels: %s.", ", ".join(empty))
    return {value: label_map.labels[value] for value in sorted(found)}


def _references(path: Path) -> list[Dataset]:
    """What refers to each slice of a file: its instance, and its place."""
    dataset = read_dataset(path, (*GEOMETRY_TAGS, *REFERENCE_TAGS))
    meta = dataset.file_meta
    instance = dataset.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID")
    if not instance:
        raise ImageReadError(
            f"{path} has no SOPInstanceUID, so no DICOM object can refer to it; export the series "
            "again from the archive, or write NIfTI."
        )
    dataset.SOPInstanceUID = UID(str(instance))
    dataset.SOPClassUID = storage_class(dataset)
    return slices_of(dataset, path)


def _fill(slices: Sequence[Dataset]) -> tuple[str, ...]:
    """Give every slice the UIDs that the series lacks; returns which those were."""
    instances = sorted(str(dataset.SOPInstanceUID) for dataset in slices)
    lacking = [
        keyword for keyword in FILLED_TAGS if not all(dataset.get(keyword) for dataset in slices)
    ]
    for keyword in lacking:
        uid = generate_uid(entropy_srcs=[keyword, *instances])
        for dataset in slices:
            setattr(dataset, keyword, uid)
    return tuple(lacking)
