"""Whether an image file is whole, told in one pass over its bytes."""

import hashlib
import math
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib

from cobot.checksum import READ_AT_ONCE_BYTES
from cobot.errors import ImageReadError
from cobot.io.nifti import nifti_grid
from cobot.io.unreadable import named_refusals

GZIP_WBITS = 31


def whole_sha256(path: Path) -> str:
    """The SHA-256 of a .nii.gz file that unpacks to as many voxels as its header says.

    Unpacking to the end is what checks gzip's own checksum; nothing is kept in memory.

    Raises:
        ImageReadError: cut short, damaged, or not one 3D image; or its disk fails, or it may not
            be read.
    """
    with named_refusals(path):
        sha256, unpacked = _unpack(path)
        expected = _expected_bytes(path)
    if unpacked < expected:
        raise _damaged(path, f"{unpacked} bytes instead of {expected}")
    return sha256


def _unpack(path: Path) -> tuple[str, int]:
    """The SHA-256 of a gzip file, and how many bytes it unpacks to."""
    digest = hashlib.sha256()
    unpacker, unpacked = zlib.decompressobj(GZIP_WBITS), 0
    try:
        with path.open("rb") as stream:
            while part := stream.read(READ_AT_ONCE_BYTES):
                digest.update(part)
                unpacked += len(unpacker.decompress(part))
                # A gzip file may have several members; zeros behind the last are padding.
                while unpacker.eof and (rest := unpacker.unused_data.lstrip(b"\0")):
                    unpacker = zlib.decompressobj(GZIP_WBITS)
                    unpacked += len(unpacker.decompress(rest))
    except zlib.error as error:
        raise _damaged(path, str(error)) from error
    if not unpacker.eof:
        raise _damaged(path, f"it ends after {unpacked} unpacked bytes")
    return digest.hexdigest(), unpacked


def _expected_bytes(path: Path) -> int:
    """What the header promises; `nifti_grid` refuses headers that promise no 3D image."""
    shape = nifti_grid(path).shape
    # The header's own offset is emptied while loading; the proxy keeps it.
    stored: Any = nib.load(path).dataobj  # type: ignore[attr-defined]
    return int(stored.offset) + math.prod(shape) * int(stored.dtype.itemsize)


def _damaged(path: Path, what: str) -> ImageReadError:
    return ImageReadError(f"{path} is cut short or damaged ({what}); download or unpack it again.")
