"""From what a user names to the images meant: files, folders, patterns and lists."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cobot.batch.case_names import case_name, distinct, without_suffix
from cobot.batch.fingerprint import image_files
from cobot.batch.input_lists import LIST_SUFFIXES, read_list
from cobot.errors import ConfigError
from cobot.io.dicom_headers import is_dicom
from cobot.io.dicom_scan import FoundSeries, scan_series
from cobot.io.images import ITK_SUFFIXES, NIFTI_SUFFIXES

IMAGE_SUFFIXES = NIFTI_SUFFIXES + ITK_SUFFIXES


@dataclass(frozen=True, slots=True)
class InputCase:
    """One image to segment.

    Attributes:
        name: of the case: a name for a folder, different for every case of a run.
        path: the image's file; of a DICOM series its first file.
        files: all files it is made of.
        relative: its path below the folder that was named, with "/"; what prompts call it.
        is_dicom: it is a DICOM series.
    """

    name: str
    path: Path
    files: tuple[Path, ...]
    relative: str
    is_dicom: bool = False


@dataclass(frozen=True, slots=True)
class Unusable:
    """Something that was found and is no image to segment.

    Attributes:
        name: of the case that it does not become.
        path: what was found.
        reason: what it is, and the cure where there is one.
        is_fault: somebody should look at it; False for what is no volume by nature.
    """

    name: str
    path: Path
    reason: str
    is_fault: bool


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the user's words stand for.

    Attributes:
        cases: in the order of their names.
        unusable: in the order of their names.
        passed_over: suffix to number of files of folders that are no images.
    """

    cases: tuple[InputCase, ...]
    unusable: tuple[Unusable, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)


def find_inputs(texts: Sequence[str]) -> Inputs:
    """Find the images.

    Args:
        texts: each an image file, one DICOM file of a series, a folder (searched to its bottom;
            links are followed, each folder is visited once), a pattern such as
            `ct/**/*.nii.gz`, or a list: a .csv or .json file of paths. A file that is found under
            several names is segmented under the first; the others are told of.

    Raises:
        ConfigError: something named does not exist, or nothing is named at all.
    """
    cases: list[InputCase] = []
    unusable: list[Unusable] = []
    slices: list[Path] = []
    passed: Counter[str] = Counter()
    for text in texts:
        for path in _paths(text, unusable):
            if path.is_dir():
                found = _in_folder(path)
                cases += found.cases
                unusable += found.unusable
                passed.update(found.passed_over)
            elif _is_dicom_file(path):
                slices.append(path)
            else:
                cases.append(_file_case(path, path.parent))
    for folder in sorted({path.parent for path in slices}):
        series, missed = _series_of(folder, {path for path in slices if path.parent == folder})
        cases += series
        unusable += missed
    once, twins = _each_once(cases)
    unusable += twins
    names = distinct([(case.name, _told_apart(case)) for case in once])
    named = [replace(case, name=name) for case, name in zip(once, names, strict=True)]
    return Inputs(
        cases=tuple(sorted(named, key=lambda case: case.name)),
        unusable=tuple(sorted(unusable, key=lambda one: one.name)),
        passed_over=dict(passed),
    )


def _each_once(cases: Sequence[InputCase]) -> tuple[list[InputCase], list[Unusable]]:
    """The cases without those whose file came before, and the other names of such files."""
    once: dict[object, InputCase] = {}
    twins: list[Unusable] = []
    for case in cases:
        first = once.setdefault(_identity(case.path), case)
        if os.path.abspath(first.path) != os.path.abspath(case.path):
            reason = f"is the same file as {first.path}, under which it is segmented."
            twins.append(Unusable(case.name, case.path, reason, is_fault=False))
    return list(once.values()), twins


def _identity(path: Path) -> object:
    """What two names of one file have in common; links to nowhere have nothing in common."""
    try:
        state = path.stat()
    except OSError:
        return os.path.abspath(path)
    return state.st_dev, state.st_ino


def _paths(text: str, unusable: list[Unusable]) -> Iterator[Path]:
    """The files and folders that one of the user's words names."""
    path = Path(text).expanduser()
    if path.is_file() and path.suffix.lower() in LIST_SUFFIXES:
        for listed in read_list(path):
            if listed.exists():
                yield listed
            else:
                reason = f"{path} lists {listed}, which does not exist; correct the list."
                unusable.append(Unusable(case_name(listed.name), listed, reason, is_fault=True))
    elif path.exists():
        yield path
    else:
        matches = sorted(glob.glob(str(path), recursive=True))
        if not matches:
            raise ConfigError(
                f"{text} does not exist and matches nothing; expected image files, folders, "
                "patterns in quotes, or a .csv or .json list of paths. Check the name."
            )
        yield from map(Path, matches)


def _file_case(path: Path, root: Path) -> InputCase:
    relative = path.relative_to(root).as_posix()
    return InputCase(case_name(without_suffix(relative)), path, image_files(path), relative)


def _is_dicom_file(path: Path) -> bool:
    try:
        return not path.name.lower().endswith(IMAGE_SUFFIXES) and is_dicom(path)
    except OSError:
        return False


def _in_folder(root: Path) -> Inputs:
    """The images below a folder, those in its DICOM series among them."""
    cases: list[InputCase] = []
    passed: Counter[str] = Counter()
    maybe_dicom = False
    for path in _files(root):
        if path.name.lower().endswith(IMAGE_SUFFIXES):
            cases.append(_file_case(path, root))
        elif _is_dicom_file(path):
            maybe_dicom = True
        else:
            passed[path.suffix.lower()] += 1
    voxels = {file for case in cases for file in case.files[1:]}
    passed.subtract(file.suffix.lower() for file in voxels)
    if not maybe_dicom:
        return Inputs(tuple(cases), passed_over=+passed)
    scan = scan_series(root)
    folders = Counter(series.folder for series in scan.series)
    series = [_series_case(one, root, folders[one.folder] > 1) for one in scan.series]
    unusable = [
        Unusable(case_name(one.name), root / one.name.split(" [")[0], one.reason, one.fault)
        for one in scan.skipped
        if not one.name.lower().endswith(IMAGE_SUFFIXES)
    ]
    return Inputs((*cases, *series), tuple(unusable), +passed)


def _series_of(folder: Path, wanted: set[Path]) -> tuple[list[InputCase], list[Unusable]]:
    """The series that named DICOM files belong to, and the files that belong to none."""
    scan = scan_series(folder)
    series = [one for one in scan.series if wanted & set(one.paths)]
    several = len(scan.series) > 1
    missed = wanted - {path for one in series for path in one.paths}
    reason = "belongs to no DICOM series that is a volume; name the folder to be told why."
    return (
        [_series_case(one, folder, several) for one in series],
        [Unusable(case_name(path.name), path, reason, is_fault=True) for path in sorted(missed)],
    )


def _series_case(series: FoundSeries, root: Path, has_neighbours: bool) -> InputCase:
    below = os.path.relpath(series.folder, root)
    relative = root.name if below == "." else Path(below).as_posix()
    # An UID is long and belongs to the patient: a folder of several series tells them by a hash.
    name = case_name(relative, told_by=series.uid if has_neighbours else "")
    return InputCase(name, series.paths[0], series.paths, relative, is_dicom=True)


def _told_apart(case: InputCase) -> str:
    """What differs between cases that would have one name, and stays when the tree is moved."""
    return f"{case.path.parent.name}/{case.relative}/{case.path.name}"


def _files(root: Path) -> Iterator[Path]:
    """Every file below `root`, each folder once, whatever links lead there; none that is hidden."""
    seen: set[tuple[int, int]] = set()
    for here, folders, files in os.walk(root, followlinks=True):
        state = os.stat(here)
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(here, name)
            # A link to nowhere is reported when it is read, by its name.
            if not name.startswith(".") and (path.is_file() or not path.exists()):
                yield path
