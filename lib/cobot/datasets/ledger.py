"""What was laid out, with checksums: a journal while it goes on, a manifest when it is done."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cobot.atomic import atomic_path
from cobot.datasets.description import Dataset
from cobot.datasets.placing import named_write_refusals
from cobot.errors import DatasetError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class LaidOut:
    """One file among the studies, as it was when it was laid out.

    Attributes:
        sha256: of its bytes.
        size_bytes: its length.
        modified_ns: its time stamp; later changes to a label are corrections.
        placed: hard link, symbolic link, copy or written.
        sources: the files it came from, relative to the download.
    """

    sha256: str
    size_bytes: int
    modified_ns: int
    placed: str
    sources: tuple[str, ...]

    def is_untouched(self, path: Path) -> bool:
        """Whether the file on disk is still the one that was laid out, by size and time."""
        try:
            found = path.stat()
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.size_bytes, self.modified_ns)


CaseFiles = Mapping[str, LaidOut]
"""Name relative to the studies' folder, with forward slashes, to the file."""


class Ledger:
    """Final. The record of one data set in one folder of studies.

    Each finished case is one line of `prepared-NAME.journal`, on the disk before the next case
    begins; a line cut off by a crash is ignored. `prepared-NAME.json` replaces it at the end.
    """

    def __init__(self, studies: Path, dataset: Dataset) -> None:
        """Read what earlier runs finished.

        Raises:
            DatasetError: the folder holds another data set, or the manifest is damaged.
        """
        self._dataset = dataset
        self.manifest = studies / f"prepared-{dataset.name}.json"
        self._journal = studies / f"prepared-{dataset.name}.journal"
        _require_alone(studies, dataset)
        self._cases = {**_read_manifest(self.manifest), **_read_journal(self._journal)}

    def files(self, case: str) -> CaseFiles:
        """What was laid out for a case; empty if it was not finished."""
        return self._cases.get(case, {})

    def finish_case(self, case: str, files: CaseFiles) -> None:
        """Write a finished case down.

        Raises:
            ImageWriteError: the folder cannot be written, or the disk is full.
        """
        self._cases[case] = files
        line = json.dumps({"case": case, "files": _plain(files)}) + "\n"
        with (
            named_write_refusals(self._journal),
            self._journal.open("a", encoding="utf-8") as stream,
        ):
            # A line cut off by a crash must not swallow this one.
            stream.write("\n" + line)
            stream.flush()
            os.fsync(stream.fileno())

    def finish(self, source: Path) -> None:
        """Write the manifest and drop the journal.

        Raises:
            ImageWriteError: the folder cannot be written, or the disk is full.
        """
        content = {
            "format": FORMAT,
            "dataset": self._dataset.name,
            "title": self._dataset.title,
            "terms": asdict(self._dataset.terms),
            "labels": {str(value): name for value, name in self._dataset.labels.items()},
            "plane": self._dataset.plane,
            "source": str(source.resolve()),
            "cases": {case: _plain(files) for case, files in sorted(self._cases.items())},
        }
        with atomic_path(self.manifest) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        with named_write_refusals(self._journal):
            self._journal.unlink(missing_ok=True)


def _require_alone(studies: Path, dataset: Dataset) -> None:
    for other in sorted(studies.glob("prepared-*.*")):
        name = other.stem.removeprefix("prepared-")
        if name != dataset.name and other.suffix in (".json", ".journal"):
            raise DatasetError(
                f"{studies} holds the data set {name}; label values of two data sets in one "
                f"folder would mean different organs. Give {dataset.name} a folder of its own."
            )


def _plain(files: CaseFiles) -> dict[str, Any]:
    return {name: asdict(file) for name, file in files.items()}


def _from_plain(files: Mapping[str, Any]) -> CaseFiles:
    return {
        name: LaidOut(**{**file, "sources": tuple(file["sources"])}) for name, file in files.items()
    }


def _read_manifest(path: Path) -> dict[str, CaseFiles]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {case: _from_plain(files) for case, files in content["cases"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path} is damaged ({type(error).__name__}: {error}). Remove it: the next run checks "
            "every file and writes it anew."
        ) from error


def _read_journal(path: Path) -> dict[str, CaseFiles]:
    cases: dict[str, CaseFiles] = {}
    if not path.is_file():
        return cases
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            cases[entry["case"]] = _from_plain(entry["files"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return cases
