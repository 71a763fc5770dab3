"""Files and folders appear whole under their final name, or not at all."""

import errno
import os
import secrets
import shutil
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
    partial = _hidden_name(final)
    try:
        _create(partial)
        yield partial
        flush(partial)
        os.replace(partial, final)
        flush(final.parent)
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


@contextmanager
def atomic_folder(final: Path) -> Iterator[Path]:
    """Yield a fresh folder to fill with files; it becomes `final` if the block succeeds.

    Raises:
        FileExistsError: `final` exists, or came while the block ran; nothing is ever overwritten.
    """
    if final.exists():
        raise FileExistsError(f"{final} exists already")
    partial = _hidden_name(final)
    partial.mkdir()
    try:
        yield partial
        for file in partial.iterdir():
            flush(file)
        flush(partial)
        try:
            os.replace(partial, final)
        except OSError as error:
            # Linux says ENOTEMPTY where the other folder holds something, and has no class for it.
            if error.errno == errno.ENOTEMPTY:
                raise FileExistsError(f"{final} exists already") from error
            raise
        flush(final.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def flush(path: Path) -> None:
    """Bring a file or folder to the disk.

    Windows cannot open a folder; there the rename itself is written through.
    """
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _hidden_name(final: Path) -> Path:
    """A fresh name beside `final`, in the same suffixes."""
    return final.with_name(f".{secrets.token_hex(8)}.partial{''.join(final.suffixes)}")


def _create(path: Path) -> None:
    """Make an empty file with the permissions the user's umask gives, never over another."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
