"""Folders that hold many DICOM series: which are volumes, and why the others are none."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cobot.errors import ImageReadError
from cobot.io.dicom_copies import Copies, single_out
from cobot.io.dicom_entry import DicomEntry, read_entry
from cobot.io.dicom_headers import is_dicom

MODALITIES = ("CT", "MR")
MIN_SLICES = 3
"""Fewer are a test shot, a scout that does not say so, or what is left of a series."""

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
"""Who names a file so means it to be DICOM; other files that are none are passed over."""


@dataclass(frozen=True, slots=True)
class FoundSeries:
    """One series that may be a volume; reading it decides.

    Attributes:
        uid: SeriesInstanceUID; empty in some de-identified files, which are then told by folder.
        paths: its files, sorted by name; copies of a file are left out.
        modality: CT or MR, or empty where the files do not say.
        folder: the innermost folder that holds all of its files.
    """

    uid: str
    paths: tuple[Path, ...]
    modality: str
    folder: Path


@dataclass(frozen=True, slots=True)
class SkippedSeries:
    """Something that will not be read as a volume.

    Attributes:
        name: its folder and SeriesInstanceUID, or the file, below the scanned folder.
        reason: what it is, and the cure where there is one.
        fault: True where a person should look at it (damaged, forbidden, contradictory, or a CT or
            MR of several frames a file that is no enhanced image); False where it simply is not a
            volume, such as a report or a scout.
    """

    name: str
    reason: str
    fault: bool = False


@dataclass(frozen=True, slots=True)
class SeriesScan:
    """What lies in a folder and the folders inside it.

    Attributes:
        series: sorted by folder and UID.
        skipped: in the order of their names; copies and localizers that were left out of a series
            are listed too.
    """

    series: tuple[FoundSeries, ...]
    skipped: tuple[SkippedSeries, ...]


def scan_series(
    folder: Path, *, modalities: Sequence[str] = MODALITIES, min_slices: int = MIN_SLICES
) -> SeriesScan:
    """Group the DICOM files below a folder into series; headers alone are read.

    Links are followed, every folder and file is visited once. Pixels are compared only where two
    files claim to be the same instance. A damaged file whose series cannot be told is given to
    the only series of its folder, so that reading refuses it rather than goes without a slice.

    Args:
        folder: the root of any tree of folders.
        modalities: other modalities are skipped.
        min_slices: series of fewer slices are skipped.

    Raises:
        ImageReadError: `folder` is no folder.
    """
    if not folder.is_dir():
        raise ImageReadError(
            f"{folder} is not a folder; expected one that holds DICOM series. Check the name."
        )
    skipped: list[SkippedSeries] = []
    entries: list[DicomEntry] = []
    damaged: dict[Path, str] = {}
    for path in _files(folder, skipped):
        try:
            if is_dicom(path):
                entries.append(read_entry(path))
            elif path.suffix.lower() in DICOM_SUFFIXES:
                skipped.append(_file(path, folder, "is not DICOM in spite of its name"))
        except ImageReadError as error:
            damaged[path] = str(error)
        except OSError as error:
            skipped.append(_file(path, folder, f"cannot be read: {error.strerror or error}"))
    groups = _by_series(entry for entry in entries if not entry.is_directory)
    lost = _give_to_neighbours(damaged, groups)
    skipped += [_file(path, folder, f"is damaged: {damaged[path]}") for path in lost]
    found = [
        series
        for files in groups.values()
        if (series := _series(files, folder, modalities, min_slices, skipped)) is not None
    ]
    return SeriesScan(
        series=tuple(sorted(found, key=lambda series: (series.folder, series.uid))),
        skipped=tuple(sorted(skipped, key=lambda skip: skip.name)),
    )


def _files(root: Path, skipped: list[SkippedSeries]) -> Iterator[Path]:
    """Every file below `root` once, whatever links lead to it."""
    seen: set[tuple[int, int]] = set()

    def unlisted(error: OSError) -> None:
        name = Path(error.filename)
        skipped.append(_file(name, root, f"cannot be listed: {error.strerror}"))

    for here, folders, files in os.walk(root, onerror=unlisted, followlinks=True):
        status = os.stat(here)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        for name in sorted(files):
            path = Path(here, name)
            try:
                status = path.stat()
            except OSError as error:
                skipped.append(_file(path, root, f"cannot be read: {error.strerror}"))
                continue
            if path.is_file() and (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield path


def _by_series(entries: Iterable[DicomEntry]) -> dict[str, list[DicomEntry]]:
    groups: dict[str, list[DicomEntry]] = defaultdict(list)
    for entry in entries:
        groups[entry.series or str(entry.path.parent)].append(entry)
    return groups


def _give_to_neighbours(
    damaged: Mapping[Path, str], groups: Mapping[str, list[DicomEntry]]
) -> list[Path]:
    """Add damaged files to the one series of slices beside them; return those that have none."""
    lost = []
    for path in damaged:
        beside = [
            files
            for files in groups.values()
            if any(entry.path.parent == path.parent and not entry.no_slice for entry in files)
        ]
        if len(beside) == 1:
            beside[0].append(beside[0][0].with_damaged(path))
        else:
            lost.append(path)
    return lost


def _series(
    files: Sequence[DicomEntry],
    root: Path,
    modalities: Sequence[str],
    min_slices: int,
    skipped: list[SkippedSeries],
) -> FoundSeries | None:
    """The series that these files make, or None; what is left out joins `skipped`."""
    name = _name(files, root)
    for reason in dict.fromkeys(entry.no_slice for entry in files if entry.no_slice):
        alike = [entry for entry in files if entry.no_slice == reason]
        # A CT that would be segmented if only it were stored otherwise.
        fault = any(entry.unread_frames and entry.modality in modalities for entry in alike)
        skipped.append(SkippedSeries(name, f"{len(alike)} x {reason}", fault))
    slices = [entry for entry in files if not entry.no_slice]
    if not slices:
        return None
    copies: Copies = single_out(slices, root)
    skipped += [SkippedSeries(name, reason) for reason in copies.notes]
    wrong, fault = copies.conflict, True
    modality = slices[0].modality
    if wrong is None:
        wrong, fault = _not_wanted(copies.files, modality, modalities, min_slices), False
    if wrong is not None:
        skipped.append(SkippedSeries(name, wrong, fault))
        return None
    paths = tuple(sorted(entry.path for entry in copies.files))
    return FoundSeries(slices[0].series, paths, modality, _common_folder(copies.files))


def _not_wanted(
    files: Sequence[DicomEntry], modality: str, modalities: Sequence[str], min_slices: int
) -> str | None:
    if modality and modality not in modalities:
        return f"modality {modality}; segmented are {', '.join(modalities)}"
    slices = sum(entry.slices for entry in files)
    orientations = frozenset[tuple[float, ...]]().union(*(entry.orientations for entry in files))
    if len(orientations) > 1 and all(entry.called_localizer for entry in files):
        return f"a localizer: {slices} pictures in {len(orientations)} orientations"
    if slices < min_slices:
        return f"{slices} slices; expected at least {min_slices}"
    return None


def _name(files: Sequence[DicomEntry], root: Path) -> str:
    return f"{os.path.relpath(_common_folder(files), root)} [{files[0].series or 'no series UID'}]"


def _common_folder(files: Sequence[DicomEntry]) -> Path:
    return Path(os.path.commonpath([entry.path.parent for entry in files]))


def _file(path: Path, root: Path, reason: str) -> SkippedSeries:
    return SkippedSeries(os.path.relpath(path, root), reason, fault=True)
