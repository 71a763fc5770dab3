"""Files appear whole under their final name, or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cobot.errors import CobotError, ImageWriteError


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a name to write to; it becomes `final` when the block ends without an error.

    The name lies in the folder of `final`, so that the last step is a rename on one disk, and
    ends in the same suffixes, so that writers choose the same format. File and folder are
    flushed to the disk. After an error the temporary file is removed and an older `final` stays.

    Raises:
        ImageWriteError: the folder is missing or cannot be written, or the disk refused.
    """
    partial = final.with_name(f".{secrets.token_hex(4)}.partial{''.join(final.suffixes)}")
    try:
        _create(partial)
        yield partial
        _flush(partial)
        os.replace(partial, final)
        _flush_folder(final.parent)
    except CobotError:
        raise
    except OSError as error:
        raise ImageWriteError(
            f"{final} could not be written: {error.strerror or error}. "
            "Choose an existing folder you may write to, with space left."
        ) from error
    finally:
        # After success the name is gone; after a failure of the folder it may never have been.
        with suppress(OSError):
            partial.unlink()


def _create(path: Path) -> None:
    """Make an empty file with the permissions the user's umask gives, never over another."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_folder(folder: Path) -> None:
    # Windows cannot open a folder; there the rename itself is written through.
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
