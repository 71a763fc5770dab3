"""How SegRap2023 is published: one file a structure, or one map of 54 ids and one of tumours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cobot.datasets.head_neck import (
    HEAD_NECK,
    LABELS,
    ORGAN_MAP,
    REGIONS,
    TUMOUR_MAP,
    TUMOUR_REGIONS,
    values_of,
)
from cobot.datasets.source_cases import Layer, SourceCase, Survey, Truth
from cobot.errors import DatasetError

CASE = re.compile(r"segrap_\d{4}")
MAP_FOLDER = re.compile(r"Task00[12]")
IMAGES: Mapping[str, str] = {"": "image.nii.gz", "_contrast": "image_contrast.nii.gz"}
"""What a study's name adds to its case's; both CTs are aligned and share the truth."""

MAPS: Mapping[str, tuple[str, Mapping[str, tuple[int, ...]]]] = {
    "Task001": (ORGAN_MAP, REGIONS),
    "Task002": (TUMOUR_MAP, TUMOUR_REGIONS),
}
"""Folder of published maps to the name a map is kept under and what its ids mean."""


@dataclass(frozen=True, slots=True)
class HeadNeckLayout:
    """Final. Folders `segrap_0000` with two CTs and, there or in Task001 and Task002, the truth.

    Structures in single files are taken where a case folder holds any; otherwise the maps
    `Task001/segrap_0000.nii.gz` (54 ids) and `Task002/segrap_0000.nii.gz` (tumours). Cases beyond
    the published training cases become studies without a label.

    Attributes:
        training: published number of labelled cases, numbered from 0.
    """

    training: int = 120

    def survey(self, source: Path) -> Survey:
        """Look for case folders at any depth, and for maps beside them.

        Raises:
            DatasetError: no folder is named as a case, or one is there twice.
        """
        folders = _folders(source, "segrap_*", CASE)
        maps = {} if _any_single(folders) else _folders(source, "Task*", MAP_FOLDER)
        published = [f"segrap_{number:04d}" for number in range(self.training)]
        cases, missing = [], []
        for name in sorted({*published, *folders}):
            case = _case(folders.get(name, source / name), maps, name in published)
            lost = [path for path in _files(case) if not path.is_file()]
            missing += [path.relative_to(source).as_posix() for path in lost]
            if not lost:
                cases.append(case)
        return Survey(tuple(cases), tuple(missing))


def _folders(source: Path, pattern: str, name: re.Pattern[str]) -> dict[str, Path]:
    """Folders of a name at any depth."""
    if not source.is_dir():
        raise DatasetError(f"{source} is not a folder; give the one SegRap2023 was unpacked into.")
    found: dict[str, Path] = {}
    for path in sorted(source.rglob(pattern)):
        if name.fullmatch(path.name) and path.is_dir():
            if path.name in found:
                raise DatasetError(
                    f"{path.name} is there twice: {found[path.name]} and {path}. Give a folder "
                    "that holds the data set once."
                )
            found[path.name] = path
    if not found and name is CASE:
        raise DatasetError(
            f"{source} holds no folder segrap_0000 or the like; give the folder that "
            f"{HEAD_NECK.title}'s training set was unpacked into."
        )
    return found


def _any_single(folders: Mapping[str, Path]) -> bool:
    return any(
        (folder / f"{name}.nii.gz").is_file()
        for folder in folders.values()
        for name in LABELS.values()
    )


def _case(folder: Path, maps: Mapping[str, Path], labelled: bool) -> SourceCase:
    images = {f"{folder.name}{suffix}": folder / name for suffix, name in IMAGES.items()}
    if not labelled:
        return SourceCase(folder.name, images, None)
    truth = _from_maps(folder.name, folder.parent, maps) if maps else _from_single_files(folder)
    return SourceCase(folder.name, images, truth)


def _from_single_files(folder: Path) -> Truth:
    files = {value: folder / f"{name}.nii.gz" for value, name in LABELS.items()}
    layers = tuple(Layer(path, {1: value}) for value, path in files.items())
    return Truth(LABELS, layers, {path.name: path for path in files.values()})


def _from_maps(case: str, beside: Path, maps: Mapping[str, Path]) -> Truth:
    files = {
        kept_as: maps.get(folder, beside / folder) / f"{case}.nii.gz"
        for folder, (kept_as, _) in MAPS.items()
    }
    regions = dict(MAPS.values())
    layers = tuple(Layer(path, values_of(regions[name])) for name, path in files.items())
    return Truth(LABELS, layers, files)


def _files(case: SourceCase) -> list[Path]:
    layers = case.truth.layers if case.truth else ()
    return [*case.images.values(), *(layer.path for layer in layers)]
