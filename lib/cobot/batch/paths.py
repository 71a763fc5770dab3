"""Paths as they are written into records: with "/", and from the output folder."""

import os
from pathlib import Path


def relative_path(path: Path, out: Path) -> str:
    """A path seen from the output folder, or the whole path where they lie on different drives.

    Links are left as they are: the path is the one the user gave.
    """
    try:
        return Path(os.path.relpath(path.absolute(), out.resolve())).as_posix()
    except ValueError:
        return path.absolute().as_posix()


def input_path(recorded: str, out: Path) -> Path:
    """The path that a record names: the inverse of `relative_path`."""
    return Path(os.path.normpath(out.resolve() / recorded))
