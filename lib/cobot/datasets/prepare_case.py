"""Lay one case of a download out among the studies."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cobot.checksum import file_sha256
from cobot.datasets.integrity import whole_sha256
from cobot.datasets.ledger import CaseFiles, LaidOut
from cobot.datasets.placing import (
    LINKS,
    WRITTEN,
    another_file,
    named_write_refusals,
    place,
    publish,
    remove_lost_link,
)
from cobot.datasets.source_cases import SourceCase
from cobot.io.images import read_label_map, write_label_map
from cobot.io.unreadable import named_refusals
from cobot.volume import LabelMap

FINAL, EXACT, WORK = "labels/final", "labels/exact", ".prepare"
IMAGE_SUFFIX = ".nii.gz"
LABEL_SUFFIXES = (IMAGE_SUFFIX, ".nii", ".nrrd", ".mha")
"""What a correction may have been saved as."""


@dataclass(frozen=True, slots=True)
class Job:
    """From where to where.

    Attributes:
        source: the download.
        studies: the folder of studies.
        copy: copy instead of linking.
    """

    source: Path
    studies: Path
    copy: bool


def is_done(job: Job, case: SourceCase, known: CaseFiles) -> bool:
    """Whether everything of a case is in its place, as an earlier run wrote down.

    A label map may have been corrected since; another file may not have changed, nor be a link
    where copies are asked for.
    """
    if job.copy and any(file.placed in LINKS for file in known.values()):
        return False
    wanted = set(_links(case)) | {_label_name(study) for study in _labelled(case)}
    return wanted <= set(known) and all(
        _present_label(job.studies / name) is not None
        if file.placed == WRITTEN
        else file.is_untouched(job.studies / name)
        for name, file in known.items()
    )


def corrected_labels(job: Job, known: CaseFiles) -> Iterator[str]:
    """Names of a case's label maps that are no longer those that were laid out."""
    for name, file in known.items():
        if file.placed == WRITTEN and not file.is_untouched(job.studies / name):
            yield name


def lay_out(job: Job, case: SourceCase, known: CaseFiles) -> CaseFiles:
    """Check every file of a case, then put it into its place; what is there already stays.

    Args:
        job: from where to where; the studies' folders exist.
        case: what to lay out.
        known: what earlier runs wrote down of it.

    Raises:
        ImageReadError: a file is cut short, damaged, no label map, or cannot be read.
        GridMismatchError: labels and image do not share one grid.
        DatasetError: foreign label values, or another file has the name.
        ImageWriteError: the studies' folder cannot be written.
    """
    sums = {name: whole_sha256(path) for name, path in _links(case).items()}
    written = {}
    if case.truth is not None:
        truth = case.truth.read()
        for study in _labelled(case):
            written[study] = job.studies / WORK / f"{study}{IMAGE_SUFFIX}"
            write_label_map(truth, written[study], like=case.images[study])
    files = {}
    for name, path in _links(case).items():
        final = job.studies / name
        with named_write_refusals(final.parent):
            final.parent.mkdir(parents=True, exist_ok=True)
        if name in known and known[name].sha256 == sums[name]:
            # An earlier run's, to a download that was moved since.
            remove_lost_link(final)
        placed = place(path, final, sums[name], job.copy)
        files[name] = _laid_out(job, final, sums[name], (placed, (path,)))
    for study, path in written.items():
        name = _label_name(study)
        final = job.studies / name
        corrected = name in known and _present_label(final) is not None
        files[name] = known[name] if corrected else _put_label(job, case, (path, truth), final)
    return files


def _put_label(job: Job, case: SourceCase, written: tuple[Path, LabelMap], final: Path) -> LaidOut:
    """Give a written label map its name, or find that an equal one has it."""
    path, truth = written
    present = _present_label(final)
    if present is None:
        publish(path, final)
    elif not _equal(present, truth):
        raise another_file(present)
    layers = case.truth.layers if case.truth else ()
    sources = tuple(layer.path for layer in layers)
    return _laid_out(job, present or final, file_sha256(present or final), (WRITTEN, sources))


def _equal(path: Path, truth: LabelMap) -> bool:
    found = read_label_map(path)
    return np.array_equal(found.voxels, truth.voxels) and np.allclose(
        found.affine, truth.affine, rtol=0, atol=1e-3
    )


def _links(case: SourceCase) -> dict[str, Path]:
    """Name among the studies to the file of the download that it shall be."""
    images = {f"{study}{IMAGE_SUFFIX}": path for study, path in case.images.items()}
    exact = case.truth.exact if case.truth else {}
    return images | {f"{EXACT}/{case.name}/{name}": path for name, path in exact.items()}


def _labelled(case: SourceCase) -> tuple[str, ...]:
    return tuple(case.images) if case.truth else ()


def _label_name(study: str) -> str:
    return f"{FINAL}/{study}{IMAGE_SUFFIX}"


def _present_label(final: Path) -> Path | None:
    """The label map of a study, whatever format its last correction has."""
    stem = final.name.removesuffix(IMAGE_SUFFIX)
    for suffix in LABEL_SUFFIXES:
        path = final.with_name(f"{stem}{suffix}")
        with named_refusals(path):
            if path.exists():
                return path
    return None


def _laid_out(job: Job, path: Path, sha256: str, origin: tuple[str, tuple[Path, ...]]) -> LaidOut:
    placed, sources = origin
    found = path.stat()
    names = tuple(source.relative_to(job.source).as_posix() for source in sources)
    return LaidOut(sha256, found.st_size, found.st_mtime_ns, placed, names)
