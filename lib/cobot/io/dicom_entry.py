"""What a scan of folders needs to know of one DICOM file; no patient field is ever read."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

from cobot.errors import ImageReadError
from cobot.io.dicom_damage import damage_named
from cobot.io.dicom_headers import (
    is_enhanced,
    is_image,
    read_dataset,
    slices_of,
    storage_class,
)

SCAN_TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    *("ImageType", "SeriesDescription", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"),
    *("ImagePositionPatient", "ImageOrientationPatient"),
)
LOCALIZER_TYPES = {"LOCALIZER", "SCOUT", "TOPOGRAM"}
LOCALIZER_WORDS = re.compile(r"locali[sz]er|scout|topogram|surview|scanogram|survey", re.I)


@dataclass(frozen=True, slots=True)
class DicomEntry:
    """One file of a scan.

    Attributes:
        path: the file.
        series: SeriesInstanceUID, empty where the file has none.
        study: StudyInstanceUID.
        instance: SOPInstanceUID.
        modality: as written in the file.
        slices: how many slices it holds: one, or the frames of an enhanced image.
        position: ImagePositionPatient to a hundredth of a millimetre; empty where there is none, or
            one for each frame.
        orientations: ImageOrientationPatient of all slices to a tenth, which is enough to tell
            planes apart.
        no_slice: why the file is not a slice of a volume; empty where it is one.
        unread_frames: a picture of several frames that are no slices to be read here.
        called_localizer: the description of its series speaks of a scout.
        is_directory: a DICOMDIR, which lists other files.
    """

    path: Path
    series: str
    study: str
    instance: str
    modality: str
    slices: int
    position: tuple[float, ...]
    orientations: frozenset[tuple[float, ...]]
    no_slice: str
    unread_frames: bool
    called_localizer: bool
    is_directory: bool

    def with_damaged(self, path: Path) -> "DicomEntry":
        """An entry of the same series for a file of which nothing is known."""
        return replace(self, path=path, instance="", position=())


def read_entry(path: Path) -> DicomEntry:
    """Read one file's header.

    Raises:
        ImageReadError: the file is damaged.
    """
    dataset = read_dataset(path, SCAN_TAGS)
    with damage_named(path), warnings.catch_warnings():
        # pydicom warns of every UID and number that bends the standard, and repeats it.
        warnings.simplefilter("ignore", UserWarning)
        entry = _entry(dataset, path)
    if not entry.no_slice and "Rows" not in dataset:
        # Its series may be cut off too, in the middle of a UID.
        raise ImageReadError(
            f"{path} says that it is an image but not of which size; it is cut short. "
            "Copy it again."
        )
    return entry


def _entry(dataset: Dataset, path: Path) -> DicomEntry:
    slices = slices_of(dataset, path)
    return DicomEntry(
        path=path,
        series=str(dataset.get("SeriesInstanceUID") or ""),
        study=str(dataset.get("StudyInstanceUID") or ""),
        instance=str(dataset.get("SOPInstanceUID") or ""),
        modality=str(dataset.get("Modality") or ""),
        slices=len(slices),
        position=_rounded(dataset, "ImagePositionPatient", 2),
        orientations=frozenset(_rounded(one, "ImageOrientationPatient", 1) for one in slices),
        no_slice=_no_slice(dataset, slices),
        unread_frames=is_image(dataset) and _has_unread_frames(dataset),
        called_localizer=bool(LOCALIZER_WORDS.search(str(dataset.get("SeriesDescription") or ""))),
        is_directory=storage_class(dataset) == MediaStorageDirectoryStorage,
    )


def _no_slice(dataset: Dataset, slices: Sequence[Dataset]) -> str:
    storage = storage_class(dataset).name or "no SOP class"
    if not is_image(dataset):
        return f"{storage}, which holds no pictures"
    if LOCALIZER_TYPES & {str(word).upper() for word in dataset.get("ImageType") or ()}:
        return "localizer"
    if _has_unread_frames(dataset):
        return f"multi-frame {storage}; convert it to NIfTI, for example with dcm2niix"
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        return f"colour {storage}"
    if "Rows" in dataset and not all(one.get("ImagePositionPatient") for one in slices):
        return f"{storage} without a place in the patient, such as a screenshot or a radiograph"
    return ""


def _has_unread_frames(dataset: Dataset) -> bool:
    return int(dataset.get("NumberOfFrames") or 1) != 1 and not is_enhanced(dataset)


def _rounded(dataset: Dataset, field: str, digits: int) -> tuple[float, ...]:
    try:
        # Adding 0.0 turns -0.0, which is another number in a set of words, into 0.0.
        return tuple(round(float(number), digits) + 0.0 for number in dataset.get(field) or ())
    except (TypeError, ValueError):
        return ()
