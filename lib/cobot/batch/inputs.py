"""From what a user names to the images meant: files, folders, patterns and lists."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cobot.batch.case_names import case_name, distinct, readable, without_suffix
from cobot.batch.fingerprint import image_files
from cobot.batch.input_lists import LIST_SUFFIXES, read_list
from cobot.errors import ConfigError
from cobot.io.dicom_headers import is_dicom
from cobot.io.dicom_scan import FoundSeries, scan_series
from cobot.io.images import ITK_SUFFIXES, NIFTI_SUFFIXES

IMAGE_SUFFIXES = NIFTI_SUFFIXES + ITK_SUFFIXES
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
"""What DICOM files are mostly called, damaged ones too."""


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


def find_inputs(texts: Sequence[str], out: Path | None = None) -> Inputs:
    """Find the images.

    Args:
        texts: each an image file, one DICOM file of a series, a folder (searched to its bottom;
            links are followed, each folder is visited once), a pattern such as
            `ct/**/*.nii.gz`, or a list: a .csv or .json file of paths. A file that is found under
            several names is segmented under the first; the others are told of.
        out: where results go, which are no inputs: it is left out of folders and patterns.

    Raises:
        ConfigError: something named does not exist, nothing is named at all, no image is there, or
            a folder is to be segmented into itself.
    """
    cases: list[InputCase] = []
    unusable: list[Unusable] = []
    slices: list[Path] = []
    passed: Counter[str] = Counter()
    for text in texts:
        for path in _paths(text, out, unusable):
            if path.is_dir():
                found = _in_folder(path, out)
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
    cases, misnamed = _with_readable_names(cases)
    once, twins = _each_once(cases)
    unusable = [*map(_written_readably, unusable), *misnamed, *twins]
    if not once and not unusable:
        raise ConfigError(
            f"{', '.join(texts)}: no image there; expected {', '.join(IMAGE_SUFFIXES)} or DICOM "
            "files. Name the folder that holds them."
        )
    named = _named(once)
    return Inputs(
        cases=tuple(sorted(named, key=lambda case: case.name)),
        unusable=tuple(sorted(_named_beside(unusable, named), key=lambda one: one.name)),
        passed_over=dict(passed),
    )


def _with_readable_names(cases: Sequence[InputCase]) -> tuple[list[InputCase], list[Unusable]]:
    """The cases whose paths are UTF-8, and the others as faults: no record could name them."""
    good, misnamed = list[InputCase](), list[Unusable]()
    for case in cases:
        shown = readable(str(case.path))
        if shown == str(case.path):
            good.append(case)
        else:
            reason = "has a name that is not written in UTF-8 (shown as �); rename it."
            misnamed.append(Unusable(case.name, Path(shown), reason, is_fault=True))
    return good, misnamed


def _written_readably(one: Unusable) -> Unusable:
    return replace(one, path=Path(readable(str(one.path))), reason=readable(one.reason))


def _named(cases: Sequence[InputCase]) -> list[InputCase]:
    """The cases, each with a name of its own."""
    names = distinct([(case.name, _told_apart(case)) for case in cases])
    if len({name.casefold() for name in names}) < len(names):
        # Trees of one make, such as BIDS, differ further up than what stays when they are moved.
        names = distinct([(case.name, os.path.abspath(case.path)) for case in cases])
    return [replace(case, name=name) for case, name in zip(cases, names, strict=True)]


def _named_beside(unusable: Sequence[Unusable], cases: Sequence[InputCase]) -> list[Unusable]:
    """What is unusable, with names that no case and nothing else has: one has one outcome."""
    taken = {case.name.casefold() for case in cases}
    named = []
    for one in unusable:
        name = one.name
        if name.casefold() in taken:
            name = case_name(one.name, told_by=f"{os.path.abspath(one.path)}|{one.reason}")
        taken.add(name.casefold())
        named.append(replace(one, name=name))
    return named


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


def _paths(text: str, out: Path | None, unusable: list[Unusable]) -> Iterator[Path]:
    """The files and folders that one of the user's words names."""
    path = Path(text).expanduser()
    if not _can_be_looked_up(path):
        raise ConfigError(
            f"{text[:80]}… is too long for a path; expected one path an argument, or a .csv or "
            ".json list of paths."
        )
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
        yield from (path for path in map(Path, matches) if not _is_in(path, out))


def _can_be_looked_up(path: Path) -> bool:
    try:
        path.exists()
    except OSError:
        return False
    return True


def _is_in(path: Path, folder: Path | None) -> bool:
    """Whether a path is the folder or lies below it."""
    if folder is None:
        return False
    # Path.resolve raises at links that lead in a circle.
    real = Path(os.path.realpath(path))
    return Path(os.path.realpath(folder)) in (real, *real.parents)


def _file_case(path: Path, root: Path) -> InputCase:
    relative = path.relative_to(root).as_posix()
    return InputCase(case_name(without_suffix(relative)), path, image_files(path), relative)


def _may_be_dicom(path: Path) -> bool:
    """Whether to look closer at a file that is no other image, and to say what is wrong with it."""
    try:
        return path.name.lower().endswith(DICOM_SUFFIXES) or is_dicom(path)
    except OSError:
        return True


def _is_dicom_file(path: Path) -> bool:
    try:
        return not path.name.lower().endswith(IMAGE_SUFFIXES) and is_dicom(path)
    except OSError:
        return False


def _in_folder(root: Path, out: Path | None) -> Inputs:
    """The images below a folder, those in its DICOM series among them.

    Raises:
        ConfigError: results would go among them.
    """
    if out is not None and out.exists() and out.samefile(root):
        raise ConfigError(
            f"--output {out} is the folder to be segmented itself, so the next run would take the "
            f"results for images; name another folder, such as {out / 'segmented'}."
        )
    cases: list[InputCase] = []
    unusable: list[Unusable] = []
    passed: Counter[str] = Counter()
    maybe_dicom = False
    for path in _files(root, out, unusable):
        if path.name.lower().endswith(IMAGE_SUFFIXES):
            cases.append(_file_case(path, root))
        elif _may_be_dicom(path):
            maybe_dicom = True
        else:
            passed[path.suffix.lower()] += 1
    voxels = {file for case in cases for file in case.files[1:]}
    passed.subtract(file.suffix.lower() for file in voxels)
    if not maybe_dicom:
        return Inputs(tuple(cases), tuple(unusable), +passed)
    scan = scan_series(root)
    folders = Counter(series.folder for series in scan.series)
    series = [_series_case(one, root, folders[one.folder] > 1) for one in scan.series]
    for one in scan.skipped:
        path = root / one.name.split(" [")[0]
        if not one.name.lower().endswith(IMAGE_SUFFIXES) and not _is_in(path, out):
            unusable.append(Unusable(case_name(one.name), path, one.reason, one.fault))
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


def _files(root: Path, out: Path | None, unusable: list[Unusable]) -> Iterator[Path]:
    """Every file below `root`, each folder once, whatever links lead there; none that is hidden.

    Args:
        root: where to begin.
        out: a folder that is left out.
        unusable: folders that may not be looked into are added.
    """

    def note(error: OSError) -> None:
        folder = Path(error.filename or root)
        reason = f"cannot be looked into ({error.strerror}); change its permissions."
        name = case_name(os.path.relpath(folder, root))
        unusable.append(Unusable(name, folder, reason, is_fault=True))

    seen: set[tuple[int, int]] = set()
    if out is not None and out.exists():
        seen.add((out.stat().st_dev, out.stat().st_ino))
    for here, folders, files in os.walk(root, followlinks=True, onerror=note):
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
