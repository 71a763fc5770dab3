"""The manifest: a line for each outcome, on the disk before the next case begins."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from filelock import FileLock, Timeout
from pydantic import ValidationError

from cobot.atomic import atomic_path, flush
from cobot.batch.record import MANIFEST_NAME, CaseRecord
from cobot.errors import ConfigError, ImageWriteError

LOCK_NAME = ".lock"
WRITABLE_NAME = ".writable"


def read_manifest(out: Path) -> dict[str, CaseRecord]:
    """The last record of each case; lines that a crash tore, or nobody can read, are passed over.

    Raises:
        ConfigError: the file may not be read.
    """
    try:
        lines = (out / MANIFEST_NAME).read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{out / MANIFEST_NAME} cannot be read: {error.strerror}.") from error
    records = (record for line in lines if (record := _parsed(line)) is not None)
    return {record.case: record for record in records}


def read_record(path: Path) -> CaseRecord | None:
    """The record beside a mask; None if there is none or it cannot be read."""
    try:
        return _parsed(path.read_bytes())
    except OSError:
        return None


@final
class Manifest:
    """Appends to a manifest, from any thread; each line is on the disk when `append` returns."""

    def __init__(self, out: Path) -> None:
        """Use the manifest of an output folder, made with the first line."""
        self._path = out / MANIFEST_NAME
        self._lock = threading.Lock()
        self._begun = False

    def append(self, record: CaseRecord) -> None:
        """Write one line.

        Raises:
            ImageWriteError: the disk is full, or the file may not be written.
        """
        line = json.dumps(record.model_dump(mode="json"), ensure_ascii=False).encode() + b"\n"
        with self._lock:
            try:
                with self._path.open("ab") as stream:
                    start = stream.tell()
                    try:
                        stream.write(self._separator(start) + line)
                        stream.flush()
                        os.fsync(stream.fileno())
                    except OSError:
                        os.ftruncate(stream.fileno(), start)
                        raise
                if not self._begun:
                    flush(self._path.parent)
                    self._begun = True
            except OSError as error:
                raise ImageWriteError(
                    f"{self._path} could not be written: {error.strerror or error}. Free space, "
                    "and start again: finished cases are kept."
                ) from error

    def _separator(self, end: int) -> bytes:
        """A line break if a crash tore the last line, so that it spoils no other."""
        if end == 0:
            return b""
        with self._path.open("rb") as stream:
            stream.seek(end - 1)
            return b"" if stream.read(1) == b"\n" else b"\n"


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Make the output folder, and keep every other run out of it until the block ends.

    Raises:
        ConfigError: another run is writing there.
        ImageWriteError: it cannot be made, or nothing may be written there.
    """
    lock = FileLock(out / LOCK_NAME, timeout=0)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        with atomic_path(out / WRITABLE_NAME):
            pass
        (out / WRITABLE_NAME).unlink()
    except Timeout:
        raise ConfigError(
            f"Another run is writing into {out}. Wait until it has finished, or name another "
            "folder; parts of one list of studies go into folders of their own."
        ) from None
    except OSError as error:
        lock.release()
        raise ImageWriteError(
            f"--output {out} cannot be written: {error.strerror or error}. Name a folder you may "
            "write to."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _parsed(line: bytes) -> CaseRecord | None:
    try:
        return CaseRecord.model_validate_json(line)
    except ValidationError:
        return None
