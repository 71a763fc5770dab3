"""Files and folders that appear whole under their name, or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that its name always shows the old or the new content, never a part."""
    with new_file(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Lend a temporary name in the same folder; it becomes `path` if the block succeeds."""
    temporary = _temporary_name(path)
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Lend a temporary folder beside `path`; it becomes `path` if the block succeeds.

    Raises:
        FileExistsError: `path` exists; nothing is ever overwritten.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists already")
    temporary = _temporary_name(path)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            sync(file)
        sync(temporary)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Ask the system to bring a file or folder to disk; Windows cannot do so for folders."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _temporary_name(path: Path) -> Path:
    """Return a fresh hidden name beside `path`; unlike tempfile's, its mode follows the umask."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
