"""What tells whether an input has changed: cheap where its files look untouched."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from cobot.batch.record import Fingerprint
from cobot.checksum import file_sha256
from cobot.errors import ImageReadError

DETACHED = {".mhd": rb"^ElementDataFile\s*=\s*(.+?)\s*$", ".nhdr": rb"^data ?file:\s*(.+?)\s*$"}
"""Headers that keep their voxels in a second file, and the line that names it."""

HEADER_BYTES = 2**16


def image_files(path: Path) -> tuple[Path, ...]:
    """The files that an image file is made of: itself, and its voxels where they lie apart."""
    line = DETACHED.get(path.suffix.lower())
    if line is None:
        return (path,)
    try:
        with path.open("rb") as stream:
            found = re.search(line, stream.read(HEADER_BYTES), re.MULTILINE | re.IGNORECASE)
    except OSError:
        return (path,)
    voxels = path.parent / found.group(1).decode("utf-8", "replace") if found else path
    return (path, voxels) if voxels.is_file() and voxels != path else (path,)


def take_fingerprint(files: Sequence[Path]) -> Fingerprint:
    """Read the files of one image once and sum them up.

    Raises:
        ImageReadError: a file is gone or may not be read.
    """
    size_bytes, mtime_ns = _state(files)
    try:
        if len(files) == 1:
            return Fingerprint(
                size_bytes=size_bytes, mtime_ns=mtime_ns, sha256=file_sha256(files[0])
            )
        digest = hashlib.sha256()
        for file in sorted(files):
            digest.update(f"{file.name}|{file_sha256(file)}|".encode())
    except OSError as error:
        raise _unreadable(error, files) from error
    return Fingerprint(size_bytes=size_bytes, mtime_ns=mtime_ns, sha256=digest.hexdigest())


def is_unchanged(files: Sequence[Path], known: Fingerprint) -> bool:
    """Whether files are what they were: by size and time, and only if those differ by contents.

    Of several files, records of an earlier form know the newest time alone: those are compared by
    contents.

    Raises:
        ImageReadError: a file is gone or may not be read.
    """
    if looks_unchanged(files, known):
        return True
    return take_fingerprint(files).sha256 == known.sha256


def looks_unchanged(files: Sequence[Path], known: Fingerprint) -> bool:
    """Whether every file's name, size and time are what they were; contents are not read.

    Raises:
        ImageReadError: a file is gone.
    """
    return _state(files) == (known.size_bytes, known.mtime_ns)


def _state(files: Sequence[Path]) -> tuple[int, int]:
    """The size of all files together, and a number that changes when the time of any does."""
    try:
        states = [(file.name, file.stat()) for file in files]
    except OSError as error:
        raise _unreadable(error, files) from error
    each = sorted((name, one.st_size, one.st_mtime_ns) for name, one in states)
    time_ns = each[0][2] if len(each) == 1 else _digest_int64(each)
    return sum(size for _, size, _ in each), time_ns


def _digest_int64(each: Sequence[tuple[str, int, int]]) -> int:
    """What stands for the times of several files.

    The newest alone would not tell when one is replaced by an older one of the same size, as
    `rsync -a` and `cp -p` do. A positive number of 64 bits fits wherever a time does.
    """
    return int.from_bytes(hashlib.sha256(repr(each).encode()).digest()[:8], "big") >> 1


def _unreadable(error: OSError, files: Sequence[Path]) -> ImageReadError:
    return ImageReadError(
        f"{error.filename or files[0]} cannot be read ({error.strerror}); it was there when the "
        "inputs were listed. Put it back, or check the disk, and start again."
    )
