"""A volume that was read, and how to tell that its file has changed since."""

from dataclasses import dataclass
from pathlib import Path

from cobot.volume import Volume


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What a study's file was when it was read; another stamp means another image.

    Attributes:
        path: the file, or the folder of a DICOM series.
        changed_ns: newest change of the file, or of any file in the folder.
        size_bytes: size of the file, or of all files in the folder.
    """

    path: Path
    changed_ns: int
    size_bytes: int

    @classmethod
    def of(cls, path: Path) -> "FileStamp":
        """Stamp a file or folder as it is now; what is missing has size 0."""
        items = path.iterdir() if path.is_dir() else [path]
        stats = [item.stat() for item in items if item.is_file()]
        newest = max((stat.st_mtime_ns for stat in stats), default=0)
        return cls(path, newest, sum(stat.st_size for stat in stats))


@dataclass(frozen=True, slots=True)
class Study:
    """A volume that was read, and the stamp of the file it came from."""

    volume: Volume
    stamp: FileStamp
