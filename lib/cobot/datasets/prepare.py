"""Lay a downloaded public data set out as a folder of studies for the MONAI Label server.

    STUDIES/<study>.nii.gz                  the images: links into the download
    STUDIES/labels/final/<study>.nii.gz     one label map each, with names in its header
    STUDIES/labels/exact/<case>/...         overlapping masks, whole: links into the download
    STUDIES/prepared-<dataset>.json         labels, terms, and the SHA-256 of every file

MONAI Label finds images and labels by these names and writes its own datastore_v2.json. Label maps
are never links: the server writes corrections into them, and through a link into the download.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cobot.datasets.description import Dataset
from cobot.datasets.ledger import Ledger
from cobot.datasets.placing import remove_left_behind
from cobot.datasets.prepare_case import (
    EXACT,
    FINAL,
    WORK,
    Job,
    corrected_labels,
    is_done,
    lay_out,
)
from cobot.datasets.source_cases import PublicLayout, SourceCase, Survey
from cobot.errors import DatasetError, GridMismatchError, ImageReadError, ImageWriteError

NAMED = 3
"""How many missing files or refused cases a message lists."""

Progress = Callable[[int, int], None]
"""Called with the number of cases done and of all cases."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to lay out.

    Attributes:
        incomplete: take the cases that are whole instead of refusing.
        copy: copy images instead of linking them.
    """

    incomplete: bool = False
    copy: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did.

    Attributes:
        laid_out: cases of this run.
        already: cases that earlier runs had finished.
        missing: what the download lacks; empty unless `Options.incomplete`.
        corrected: label maps changed since they were laid out; they were left as they are.
        manifest: the file with all checksums.
    """

    laid_out: int
    already: int
    missing: tuple[str, ...]
    corrected: tuple[str, ...]
    manifest: Path


def prepare(
    public: tuple[Dataset, PublicLayout],
    folders: tuple[Path, Path],
    options: Options,
    progress: Progress,
) -> Report:
    """Lay out every case that is not laid out yet; killed and run again, it goes on.

    Args:
        public: the data set and how it is published.
        folders: the download; the studies, made if need be.
        options: how.
        progress: told after each case.

    Raises:
        DatasetError: the download is incomplete or laid out otherwise, or the studies hold another
            data set; then nothing is written. Or cases are damaged, hold foreign labels or would
            overwrite a file: all others are laid out first, and the message names these.
        ImageWriteError: the studies' folder cannot be written.
    """
    dataset, layout = public
    source, studies = folders
    _require_apart(source, studies)
    survey = layout.survey(source)
    _require_complete(dataset, source, survey, options)
    ledger = Ledger(studies, dataset)
    _make_folders(studies)
    for folder in (studies, *(studies / EXACT).glob("*")):
        remove_left_behind(folder)
    job = Job(source, studies, options.copy)
    already = sum(is_done(job, case, ledger.files(case.name)) for case in survey.cases)
    _lay_out_all(job, ledger, survey.cases, progress)
    ledger.finish(source)
    corrected = (
        name for case in survey.cases for name in corrected_labels(job, ledger.files(case.name))
    )
    done = len(survey.cases) - already
    return Report(done, already, survey.missing, tuple(corrected), ledger.manifest)


def _lay_out_all(
    job: Job, ledger: Ledger, cases: tuple[SourceCase, ...], progress: Progress
) -> None:
    """One case after the other; those that are refused are named together at the end."""
    refused: dict[str, str] = {}
    for number, case in enumerate(cases, start=1):
        known = ledger.files(case.name)
        try:
            if not is_done(job, case, known):
                ledger.finish_case(case.name, lay_out(job, case, known))
        except (DatasetError, ImageReadError, GridMismatchError) as error:
            refused[case.name] = str(error)
        progress(number, len(cases))
    shutil.rmtree(job.studies / WORK, ignore_errors=True)
    if refused:
        shown = " ".join(f"{name}: {reason}" for name, reason in list(refused.items())[:NAMED])
        more = f" And {len(refused) - NAMED} more." if len(refused) > NAMED else ""
        raise DatasetError(
            f"{len(refused)} of {len(cases)} cases were refused, all others are laid out. "
            f"{shown}{more} Run the same command again when they are mended."
        )


def _require_apart(source: Path, studies: Path) -> None:
    one, other = source.resolve(), studies.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise DatasetError(
            f"{studies} and {source} lie in one another; the studies need a folder outside the "
            "download."
        )


def _require_complete(dataset: Dataset, source: Path, survey: Survey, options: Options) -> None:
    missing, whole = survey.missing, len(survey.cases)
    if whole and (options.incomplete or not missing):
        return
    named = ", ".join(missing[:NAMED])
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    way_out = f", or lay out the {whole} whole cases with --incomplete" if whole else ""
    raise DatasetError(
        f"{source} lacks {len(missing)} of {dataset.title}'s files: {named}{more}. Download and "
        f"unpack the rest{way_out}."
    )


def _make_folders(studies: Path) -> None:
    try:
        for folder in (studies / FINAL, studies / WORK):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageWriteError(
            f"{studies} could not be made: {error.strerror or error}. Choose a folder you may "
            "write to."
        ) from error
