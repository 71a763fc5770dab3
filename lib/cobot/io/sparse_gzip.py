"""Gzip for voxels that are nearly all 0: a mask on one slice of a volume.

A slab of zeros is compressed once and its bytes are repeated; deflate allows it where a stream was
flushed fully, for what follows then refers to nothing before. The result is one ordinary member
(RFC 1951, RFC 1952), so every reader takes it.
"""

import zlib
from collections.abc import Iterator
from functools import lru_cache

from cobot.shapes import LabelVoxels

HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
"""Deflate, no name, no time, fastest, unknown system."""

LAST_BLOCK = b"\x03\x00"
"""An empty block that says that it is the last."""


def gzip_voxels(voxels: LabelVoxels) -> Iterator[bytes]:
    """The voxels as one gzip member, i fastest, in pieces.

    Fast where `voxels` are in Fortran order and most slabs across k are 0.

    Args:
        voxels: in the byte order in which they are to be stored.
    """
    yield HEADER
    checksum = 0
    for k in range(voxels.shape[2]):
        slab = voxels[:, :, k]
        if slab.any():
            data = slab.tobytes(order="F")
            checksum = zlib.crc32(data, checksum)
            yield _deflated(data)
        else:
            checksum = _checksum_after_zeros(checksum, slab.nbytes)
            yield _deflated_zeros(slab.nbytes)
    yield LAST_BLOCK + checksum.to_bytes(4, "little")
    yield (voxels.nbytes % 2**32).to_bytes(4, "little")


def _deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush(zlib.Z_FULL_FLUSH)


@lru_cache(maxsize=16)
def _deflated_zeros(count: int) -> bytes:
    return _deflated(bytes(count))


def _checksum_after_zeros(checksum: int, count: int) -> int:
    """What CRC-32 becomes after so many zero bytes, without going through them."""
    after, by_bit = _zeros_operator(count)
    for bit, change in enumerate(by_bit):
        if checksum >> bit & 1:
            after ^= change
    return after


@lru_cache(maxsize=16)
def _zeros_operator(count: int) -> tuple[int, tuple[int, ...]]:
    """CRC-32 after zeros is affine in the one before: its constant, and what each bit changes."""
    zeros = bytes(count)
    after = zlib.crc32(zeros)
    return after, tuple(zlib.crc32(zeros, 1 << bit) ^ after for bit in range(32))
