"""The few header fields of a DICOM slice that geometry needs; no patient field is ever read."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Float64
from pydicom.dataset import Dataset
from pydicom.uid import UID

from cobot.errors import ImageReadError
from cobot.io.dicom_damage import damage_named
from cobot.io.dicom_frames import ENHANCED, GROUP_TAGS, frames_of

GEOMETRY_TAGS = (
    *("SOPClassUID", "Modality", "SeriesInstanceUID", "Rows", "Columns", "NumberOfFrames"),
    *("SamplesPerPixel", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("SliceThickness", "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept"),
)
PREAMBLE_BYTES = 128


@dataclass(frozen=True, slots=True, eq=False)
class SliceHeader:
    """Where one DICOM file, or one frame of it, says that its picture lies.

    Attributes:
        path: the file.
        frame: its number in an enhanced image, from 1; None where the file is the slice.
        series: SeriesInstanceUID; may be empty in de-identified files.
        shape: rows, columns.
        position_lps_mm: centre of the first pixel (ImagePositionPatient).
        orientation_lps: direction in which columns count up, then rows (ImageOrientationPatient).
        spacing_mm: between rows, between columns (PixelSpacing).
        thickness_mm: distance or thickness given for a slice, for a series of one; None if absent.
    """

    path: Path
    frame: int | None
    series: str
    shape: tuple[int, int]
    position_lps_mm: Float64[np.ndarray, "3"]
    orientation_lps: Float64[np.ndarray, "2 3"]
    spacing_mm: tuple[float, float]
    thickness_mm: float | None

    @property
    def name(self) -> str:
        """The file's name, with the frame where there is one, as messages say it."""
        return _named(self.path.name, self.frame)

    @property
    def place(self) -> str:
        """The same with the folder."""
        return _named(str(self.path), self.frame)

    @property
    def normal_lps(self) -> Float64[np.ndarray, "3"]:
        """Unit vector across the slice."""
        normal = np.cross(self.orientation_lps[0], self.orientation_lps[1])
        unit: Float64[np.ndarray, "3"] = normal / np.linalg.norm(normal)
        return unit


def is_dicom(path: Path) -> bool:
    """Whether the file carries DICOM's mark after its preamble, whatever its name."""
    with path.open("rb") as file:
        return file.read(PREAMBLE_BYTES + 4)[PREAMBLE_BYTES:] == b"DICM"


def read_dataset(path: Path, tags: Sequence[str] = GEOMETRY_TAGS) -> Dataset:
    """The fields of one file that are asked for, and the groups of an enhanced image; no pixels.

    Args:
        path: the file.
        tags: keywords, SOPClassUID and Rows among them.

    Raises:
        ImageReadError: the file is damaged.
    """
    with damage_named(path):
        dataset = _fields(path, tags)
        if is_enhanced(dataset):
            # Not at once: other objects, such as segmentations, have groups of thousands of frames.
            dataset = _fields(path, (*tags, *GROUP_TAGS))
        known = storage_class(dataset) or "Rows" in dataset
    # pydicom takes an end within the first fields for the end of the file.
    if not known:
        raise ImageReadError(
            f"{path} does not say what kind of object it is; it is cut short. Copy it again."
        )
    return dataset


def _fields(path: Path, tags: Sequence[str]) -> Dataset:
    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(tags))


def storage_class(dataset: Dataset) -> UID:
    """The SOP class of a file; empty where it names none."""
    meta: UID | None = dataset.file_meta.get("MediaStorageSOPClassUID")
    return UID(str(meta or dataset.get("SOPClassUID") or ""))


def is_image(dataset: Dataset) -> bool:
    """Whether the object is a picture: structure sets, reports and plans are none.

    Neither are segmentations and dose grids, though they have rows and columns. A file cut off
    before its size is still known as an image by its storage class, so that a damaged first or
    last slice is refused and not passed over.
    """
    storage = storage_class(dataset)
    # A class that is not the standard's has its UID for a name.
    if storage.name == storage:
        return "Rows" in dataset
    return "Image Storage" in storage.name


def is_enhanced(dataset: Dataset) -> bool:
    """Whether the file holds the slices of a CT or MR volume as its frames."""
    return storage_class(dataset) in ENHANCED


def slices_of(dataset: Dataset, path: Path) -> list[Dataset]:
    """The slices that one file holds: itself, or the frames of an enhanced image.

    Raises:
        ImageReadError: it does not describe as many frames as it says it has.
    """
    if not is_enhanced(dataset):
        return [dataset]
    return frames_of(dataset, _count(dataset, "NumberOfFrames", str(path)), path)


def slice_headers(dataset: Dataset, path: Path) -> list[SliceHeader]:
    """Check the fields of one file's slices and put them into numbers.

    Raises:
        ImageReadError: several frames of another kind than enhanced CT and MR, colours, or a field
            of the geometry missing or unusable.
    """
    with damage_named(path):
        slices = slices_of(dataset, path)
        frames = range(1, len(slices) + 1) if is_enhanced(dataset) else [None]
        return [_slice_header(one, path, frame) for one, frame in zip(slices, frames, strict=True)]


def _slice_header(dataset: Dataset, path: Path, frame: int | None) -> SliceHeader:
    place = _named(str(path), frame)
    if _count(dataset, "NumberOfFrames", place) != 1:
        raise ImageReadError(
            f"{place} is a multi-frame DICOM file, and no enhanced CT or MR; expected those, or "
            "one slice a file. Convert it to NIfTI, for example with dcm2niix."
        )
    if _count(dataset, "SamplesPerPixel", place) != 1:
        raise ImageReadError(
            f"{place} is a colour picture; expected one grey value a pixel. "
            "Choose the original CT or MR series."
        )
    if not (dataset.get("Rows") and dataset.get("Columns")):
        raise ImageReadError(
            f"{place} says that it is an image but not of which size; it is cut short. "
            "Copy it again."
        )
    orientation = np.array(_numbers(dataset, "ImageOrientationPatient", 6, place)).reshape(2, 3)
    # 1e-3 of rounding is what files with three decimals need.
    if not np.allclose(orientation @ orientation.T, np.eye(2), atol=2e-3):
        raise ImageReadError(
            f"{place}: ImageOrientationPatient {orientation.ravel().tolist()} is not two "
            "perpendicular unit vectors; export the series again from the archive."
        )
    row_mm, col_mm = _numbers(dataset, "PixelSpacing", 2, place)
    if row_mm <= 0 or col_mm <= 0:
        raise ImageReadError(
            f"{place}: PixelSpacing {[row_mm, col_mm]} mm must be positive; "
            "export the series again from the archive."
        )
    return SliceHeader(
        path=path,
        frame=frame,
        series=str(dataset.get("SeriesInstanceUID") or ""),
        shape=(int(dataset.Rows), int(dataset.Columns)),
        position_lps_mm=np.array(_numbers(dataset, "ImagePositionPatient", 3, place)),
        orientation_lps=orientation / np.linalg.norm(orientation, axis=1, keepdims=True),
        spacing_mm=(row_mm, col_mm),
        thickness_mm=_thickness(dataset),
    )


def _named(file: str, frame: int | None) -> str:
    return file if frame is None else f"{file} frame {frame}"


def _numbers(dataset: Dataset, field: str, count: int, place: str) -> list[float]:
    try:
        numbers = [float(number) for number in dataset.get(field) or ()]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ImageReadError(
            f"{place} has no usable {field} ({count} numbers expected), so its place in the "
            "patient is unknown; export the original series, not screenshots or reports."
        )
    return numbers


def _count(dataset: Dataset, field: str, place: str) -> int:
    """A number that files with one of a thing leave out."""
    try:
        return int(dataset.get(field) or 1)
    except (TypeError, ValueError) as error:
        raise ImageReadError(
            f"{place} has no usable {field} (one whole number expected); export the series again "
            "from the archive."
        ) from error


def _thickness(dataset: Dataset) -> float | None:
    for field in ("SpacingBetweenSlices", "SliceThickness"):
        # Only a series of one slice needs it, and says so where it is missing.
        with suppress(TypeError, ValueError):
            value = dataset.get(field)
            if value is not None and float(value) > 0:
                return float(value)
    return None
