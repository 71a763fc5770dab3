"""A case's folder appears whole, and an older one is kept."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cobot.atomic import atomic_folder, flush
from cobot.errors import CobotError, ImageWriteError

HISTORY = "history"
READY_SUFFIX = ".ready"
LEFT_BEHIND = re.compile(r"\.[0-9a-f]{16}\.partial.*|\..+\.ready")
"""Hidden names of folders that are being filled, or are whole and wait for their name."""


@contextmanager
def replaced_folder(out: Path, name: str) -> Iterator[Path]:
    """Yield a fresh folder to fill; it becomes `out/name`, an older one `out/history/name/0001`.

    At every moment each name stands for a whole folder or for nothing.

    Raises:
        ImageWriteError: the disk is full, or nothing may be written there.
    """
    ready = out / f".{name}{READY_SUFFIX}"
    # Left by a worker that was killed between the two renames.
    shutil.rmtree(ready, ignore_errors=True)
    try:
        with atomic_folder(ready) as partial:
            yield partial
        if (out / name).exists():
            _require_ours(out / name)
            set_aside(out, name)
        os.replace(ready, out / name)
        flush(out)
    except CobotError:
        raise
    except OSError as error:
        raise ImageWriteError(
            f"{out / name} could not be written: {error.strerror or error}. Free space, or name "
            "an --output folder you may write to, and start again: finished cases are kept."
        ) from error


def _require_ours(folder: Path) -> None:
    """Refuse to move what this program has not written.

    Raises:
        ImageWriteError: the folder holds no record of a case.
    """
    if not (folder / f"{folder.name}.json").is_file():
        raise ImageWriteError(
            f"{folder} is there already and is no result of this program; move it, or name another "
            "--output folder."
        )


def sweep(out: Path) -> None:
    """Remove what killed runs left under hidden names; to be called by who is alone in `out`."""
    for left in out.iterdir():
        if LEFT_BEHIND.fullmatch(left.name):
            shutil.rmtree(left, ignore_errors=True)


def set_aside(out: Path, name: str) -> Path:
    """Move a case's folder to the history under the next number; returns where it is."""
    history = out / HISTORY / name
    history.mkdir(parents=True, exist_ok=True)
    taken = [int(one.name) for one in history.iterdir() if one.name.isdigit()]
    kept = history / f"{max(taken, default=0) + 1:04d}"
    os.replace(out / name, kept)
    flush(history)
    return kept
