"""Checksums of files of any size."""

import hashlib
from pathlib import Path
from typing import Literal

Algorithm = Literal["sha256", "md5"]
"""MD5 only where a publisher gives nothing better: it finds damage, not forgery."""

READ_AT_ONCE_BYTES = 2**22


def file_checksum(path: Path, algorithm: Algorithm = "sha256") -> str:
    """The checksum of a file, in hex, read in parts."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as stream:
        while part := stream.read(READ_AT_ONCE_BYTES):
            digest.update(part)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    return file_checksum(path, "sha256")
