"""Unpack a tar archive without letting it write anywhere else."""

import shutil
import tarfile
from pathlib import Path, PurePosixPath

from cobot.atomic import atomic_path
from cobot.errors import DatasetError


def unpack(archive: Path, folder: Path) -> None:
    """Unpack plain files and folders; each file appears whole under its name.

    Run again after a crash, files that are there at their full size are kept. Files that macOS
    adds (`._name`) are left out.

    Args:
        archive: an uncompressed or compressed tar file.
        folder: what the archive's names are relative to; it exists.

    Raises:
        DatasetError: damaged, or a member is a link or device or lies outside the folder: then
            nothing is unpacked.
        ImageWriteError: the folder cannot be written.
    """
    try:
        with tarfile.open(archive) as content:
            members = content.getmembers()
            for member in members:
                _require_harmless(archive, member)
            for member in members:
                if not PurePosixPath(member.name).name.startswith("._"):
                    _unpack_member(content, member, folder)
    except (tarfile.TarError, EOFError) as error:
        raise DatasetError(
            f"{archive} is cut short or damaged ({error}); remove it and download it again."
        ) from error


def _require_harmless(archive: Path, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    inside = not path.is_absolute() and ".." not in path.parts
    # A colon or backslash is a drive or a separator on Windows.
    if not (inside and (member.isfile() or member.isdir())) or set(member.name) & set(":\\"):
        raise DatasetError(
            f"{archive} holds {member.name!r}, which is a link or would be written outside the "
            "folder. It is not the published archive: remove it and download it again."
        )


def _unpack_member(content: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    final = folder.joinpath(*PurePosixPath(member.name).parts)
    if member.isdir():
        final.mkdir(parents=True, exist_ok=True)
        return
    if final.is_file() and final.stat().st_size == member.size:
        return
    final.parent.mkdir(parents=True, exist_ok=True)
    stream = content.extractfile(member)
    assert stream is not None, "a plain file has contents"
    with stream, atomic_path(final) as partial, partial.open("wb") as out:
        shutil.copyfileobj(stream, out)
