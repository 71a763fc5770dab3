"""Files that claim to be the same DICOM instance, or the same series from different folders."""

import filecmp
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cobot.errors import ImageReadError
from cobot.io.dicom_entry import DicomEntry
from cobot.io.dicom_headers import read_dataset
from cobot.io.dicom_pixels import read_slices


@dataclass(frozen=True, slots=True)
class Copies:
    """The files of one series without those that are there twice.

    Attributes:
        files: each instance once, the first in the order of the paths.
        notes: a sentence for every folder that holds copies.
        conflict: why these files cannot be one series; None where they can.
    """

    files: tuple[DicomEntry, ...]
    notes: tuple[str, ...]
    conflict: str | None


def single_out(files: Sequence[DicomEntry], root: Path) -> Copies:
    """Keep one file of each instance, and look for different pictures under one UID.

    Args:
        files: the slices that carry one SeriesInstanceUID.
        root: the folder that names in messages are relative to.
    """
    kept: dict[str, DicomEntry] = {}
    single: list[DicomEntry] = []
    copies: dict[tuple[Path, Path], int] = defaultdict(int)
    conflict = None
    for entry in sorted(files, key=lambda entry: entry.path):
        first = kept.setdefault(entry.instance, entry) if entry.instance else entry
        if first is entry:
            single.append(entry)
        elif _same_picture(first.path, entry.path):
            copies[entry.path.parent, first.path.parent] += 1
        else:
            conflict = conflict or _contradiction(first, entry, "the same SOPInstanceUID", root)
    notes = [
        f"{count} files in {_relative(here, root)} are copies of files in "
        f"{_relative(there, root)}; they are read once"
        for (here, there), count in copies.items()
    ]
    return Copies(tuple(single), tuple(notes), conflict or _clash(single, root))


def _same_picture(first: Path, second: Path) -> bool:
    """Whether two files show the same: byte by byte, or else geometry and pixel by pixel."""
    if filecmp.cmp(first, second, shallow=False):
        return True
    try:
        same_header = read_dataset(first) == read_dataset(second)
        return same_header and np.array_equal(read_slices(first), read_slices(second))
    except ImageReadError:
        return False


def _clash(files: Sequence[DicomEntry], root: Path) -> str | None:
    """Files of several folders that lie at one place, or belong to several studies."""
    places: dict[tuple[float, ...], DicomEntry] = {}
    for entry in files:
        if entry.study != files[0].study:
            return _contradiction(files[0], entry, "different StudyInstanceUIDs", root)
        first = places.setdefault(entry.position, entry) if entry.position else entry
        if first.path.parent != entry.path.parent and first.orientations == entry.orientations:
            return _contradiction(first, entry, "the same position", root)
    return None


def _contradiction(first: DicomEntry, second: DicomEntry, shared: str, root: Path) -> str:
    return (
        f"one SeriesInstanceUID stands for different pictures: {_relative(first.path, root)} and "
        f"{_relative(second.path, root)} have {shared}. Give their folders one at a time, or give "
        "one of the series another UID."
    )


def _relative(path: Path, root: Path) -> str:
    return os.path.relpath(path, root)
