"""Put files into a folder of studies: linked where possible, never over another file."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cobot.atomic import atomic_path, flush
from cobot.checksum import file_sha256
from cobot.errors import DatasetError, ImageWriteError
from cobot.io.unreadable import named_refusals

HARD_LINK, SYMBOLIC_LINK, COPY, WRITTEN = "hard link", "symbolic link", "copy", "written"
LINKS = (HARD_LINK, SYMBOLIC_LINK)
LEFT_BEHIND = re.compile(r"\.[0-9a-f]{16}\.partial.*\.nii\.gz")
"""Hidden names of copies that are being made; `atomic_path` gives them."""


def place(source: Path, final: Path, sha256: str, copy: bool) -> str:
    """Make `final` the same file as `source`, or find that it is already.

    A hard link where both are on one disk, else a symbolic link, else a copy.

    Args:
        source: a file of the download.
        final: its name among the studies; the folder exists.
        sha256: of `source`.
        copy: copy at once, also over a link that an earlier run made: for a download that will be
            deleted or lies on a disk that leaves.

    Returns:
        HARD_LINK, SYMBOLIC_LINK or COPY.

    Raises:
        DatasetError: another file has the name.
        ImageReadError: what has the name cannot be read.
        ImageWriteError: the folder cannot be written.
    """
    if os.path.lexists(final):
        placed = _require_same(source, final, sha256)
        if placed == COPY or not copy:
            return placed
    elif not copy and (linked := _link(source, final)):
        return linked
    with atomic_path(final) as partial:
        shutil.copyfile(source, partial)
    return COPY


def publish(written: Path, final: Path) -> None:
    """Give a finished file its name, at once and never over another file.

    Args:
        written: a file on the same disk; gone afterwards.
        final: its name.

    Raises:
        DatasetError: another file has the name.
        ImageWriteError: the folder cannot be written.
    """
    if os.path.lexists(final):
        raise another_file(final)
    with named_write_refusals(final):
        flush(written)
        os.replace(written, final)
        flush(final.parent)


@contextmanager
def named_write_refusals(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into one that names what could not be written.

    Raises:
        ImageWriteError: the folder cannot be written, or the disk is full.
    """
    try:
        yield
    except OSError as error:
        raise ImageWriteError(
            f"{path} could not be written: {error.strerror or error}. Choose a folder you may "
            "write to, with space left."
        ) from error


def another_file(final: Path) -> DatasetError:
    """The refusal to overwrite."""
    return DatasetError(
        f"{final} exists and is another file than this data set's; nothing is overwritten. Move "
        "it away, or choose another folder for the studies."
    )


def remove_left_behind(folder: Path) -> None:
    """Remove copies that an earlier run was killed at: their names end as an image's does.

    Raises:
        ImageWriteError: the folder cannot be written.
    """
    with named_write_refusals(folder):
        for path in folder.glob(".*.partial*"):
            if LEFT_BEHIND.fullmatch(path.name):
                path.unlink(missing_ok=True)


def remove_lost_link(final: Path) -> None:
    """Remove a link that leads nowhere; anything else stays.

    Raises:
        ImageWriteError: the folder cannot be written.
    """
    if final.is_symlink() and not os.path.exists(final):
        with named_write_refusals(final):
            final.unlink()


def _link(source: Path, final: Path) -> str | None:
    """What kind of link was made; None where the file system knows neither."""
    # Both refuse an existing name by themselves; other errors mean "not on this disk".
    with suppress(OSError):
        os.link(source.resolve(), final)
        return HARD_LINK
    with suppress(OSError):
        os.symlink(source.resolve(), final)
        return SYMBOLIC_LINK
    return None


def _require_same(source: Path, final: Path, sha256: str) -> str:
    with named_refusals(final):
        if not final.is_file():
            raise another_file(final)
        if final.samefile(source):
            return SYMBOLIC_LINK if final.is_symlink() else HARD_LINK
        if final.stat().st_size != source.stat().st_size or file_sha256(final) != sha256:
            raise another_file(final)
    # A link to an equal file, such as an older download's, is as lost without it.
    return SYMBOLIC_LINK if final.is_symlink() else COPY
