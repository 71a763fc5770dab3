"""What a download holds, case by case, whatever its public layout."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from cobot.errors import DatasetError
from cobot.io.images import read_label_map
from cobot.volume import LabelMap


@dataclass(frozen=True, slots=True)
class Layer:
    """One label file and what its values mean.

    Attributes:
        path: the file.
        values: value in the file to value in our label maps; 0 stays 0.
    """

    path: Path
    values: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Truth:
    """A case's labels, from one file or from many that overlap.

    Where layers overlap **the higher value wins**: data sets number a whole before its parts.

    Attributes:
        labels: value to name.
        layers: painted into one map.
        exact: name to file, of masks that overlap and so lose voxels in one map; they are kept
            beside it.
    """

    labels: Mapping[int, str]
    layers: tuple[Layer, ...]
    exact: Mapping[str, Path] = field(default_factory=dict)

    def read(self) -> LabelMap:
        """The one map.

        Raises:
            ImageReadError: a file is damaged or not a label map.
            DatasetError: a file holds values that the data set does not have.
            GridMismatchError: the files do not share one grid.
        """
        first, *others = self.layers
        base = read_label_map(first.path)
        painted = _translate(base, first)
        for layer in others:
            more = read_label_map(layer.path).on_grid_of(base)
            np.maximum(painted, _translate(more, layer), out=painted)
        return LabelMap(painted, base.affine, self.labels)


@dataclass(frozen=True, slots=True)
class SourceCase:
    """One patient of a download.

    Attributes:
        name: the patient's, as published.
        images: study name to file; several where one truth belongs to several images.
        truth: the labels; None where none were published.
    """

    name: str
    images: Mapping[str, Path]
    truth: Truth | None


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found in a download, from file names alone.

    Attributes:
        cases: those that are whole, in the order of their names.
        missing: what the published data set has beyond that, relative to the download.
    """

    cases: tuple[SourceCase, ...]
    missing: tuple[str, ...]


@runtime_checkable
class PublicLayout(Protocol):
    """How a data set's files are named and where they lie when it is unpacked."""

    def survey(self, source: Path) -> Survey:
        """Look through a folder.

        Raises:
            DatasetError: it is not laid out as the data set is published.
        """
        ...


def by_name(source: Path, pattern: str, what: str) -> dict[str, Path]:
    """File name to path of every match at any depth, in the order of their names.

    Raises:
        DatasetError: the folder is missing, or two files have one name.
    """
    if not source.is_dir():
        raise DatasetError(f"{source} is not a folder; give the folder {what} was unpacked into.")
    found: dict[str, Path] = {}
    for path in sorted(source.rglob(pattern), key=lambda path: path.name):
        if path.name in found:
            raise DatasetError(
                f"{path.name} is there twice: {found[path.name]} and {path}. Give a folder that "
                "holds the data set once."
            )
        found[path.name] = path
    return found


def _translate(stored: LabelMap, layer: Layer) -> np.ndarray:
    foreign = sorted(value for value in stored.labels if value not in layer.values)
    present = [value for value in foreign if (stored.voxels == value).any()]
    if present:
        known = ", ".join(map(str, layer.values))
        raise DatasetError(
            f"{layer.path} holds label values {present}, which this data set does not have "
            f"(it has {known}): it is another data set's file or damaged. Download it again."
        )
    highest = max((0, *stored.labels))
    table = np.zeros(highest + 1, np.uint16)
    for value, ours in layer.values.items():
        if value <= highest:
            table[value] = ours
    return table[stored.voxels]
