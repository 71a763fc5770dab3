"""Whether the packed voxels of an NRRD or MetaImage file are whole: ITK unpacks without checking.

gzip and zlib end with a checksum of what they hold. ITK does not look at it, so that a damaged file
would be read, with other voxels than were written.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from cobot.errors import ImageReadError

EITHER_FORMAT = 47
"""zlib's code for gzip or zlib, told by the first bytes."""

CHUNK_BYTES = 2**20
LONGEST_HEADER_LINES = 10_000
LOCAL = "LOCAL"
PACKED = ("gzip", "gz", "true")
"""What NRRD's `encoding` and MetaImage's `CompressedData` say, in small letters."""


def require_whole_voxels(path: Path) -> None:
    """Unpack to the end, where voxels are packed, and let the checksum speak.

    Voxels that are not packed have no checksum; files of another make are left to ITK.

    Args:
        path: a .nrrd, .nhdr, .mha or .mhd file.

    Raises:
        ImageReadError: the voxels are damaged.
    """
    with path.open("rb") as file:
        data = _packed_data(_fields(file))
        try:
            if data == LOCAL:
                _unpack(file)
            elif data and (beside := path.parent / data).is_file():
                with beside.open("rb") as other:
                    _unpack(other)
        except zlib.error as error:
            raise ImageReadError(
                f"{path} is damaged: its packed voxels do not have the checksum that they were "
                f"written with ({error}). Copy it again from its source."
            ) from error


def _packed_data(fields: Mapping[str, str]) -> str:
    """Where packed voxels begin: `LOCAL`, or the start of a file; empty where neither."""
    skipped = any(fields.get(name, "0") != "0" for name in ("byte skip", "line skip"))
    if fields.get("encoding", "").lower() in PACKED and not skipped:
        return fields.get("data file", fields.get("datafile", LOCAL))
    if fields.get("compresseddata", "").lower() in PACKED:
        return fields.get("elementdatafile", "")
    return ""


def _fields(file: BinaryIO) -> Mapping[str, str]:
    """The header's fields in small letters; the file stands at what follows."""
    fields: dict[str, str] = {}
    for _ in range(LONGEST_HEADER_LINES):
        line = file.readline(CHUNK_BYTES).decode("latin-1").strip()
        if not line:
            break
        name, _, value = line.partition("=" if "=" in line.partition(":")[0] else ":")
        fields[name.strip().lower()] = value.strip()
        if name.strip() == "ElementDataFile":
            break
    return fields


def _unpack(file: BinaryIO) -> None:
    """Read one packed stream to its end.

    Raises:
        zlib.error: damaged; cut short is for ITK to tell, which does.
    """
    stream = zlib.decompressobj(EITHER_FORMAT)
    while not stream.eof and (chunk := file.read(CHUNK_BYTES)):
        stream.decompress(chunk)
