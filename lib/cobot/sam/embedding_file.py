"""One file of embeddings on disk: a header, then records of one size, each checked by itself.

All numbers are little-endian. The header is 64 bytes: the magic `COBOTEMB`, then version, channels,
rows and columns of an embedding and the CRC-32 of all before it, as unsigned 32-bit integers, then
zeros. A record is 64 bytes, the 32 of the embedding's key, the CRC-32 of key and values, and zeros,
followed by the values in bfloat16, in the order channels, rows, columns.

Records are only ever added at the end. What a killed writer leaves is a record cut short, which no
reader takes and the next writer overwrites; what a failing disk leaves does not match its checksum.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import BFloat16, Float
from torch import Tensor

from cobot.atomic import atomic_path

MAGIC = b"COBOTEMB"
VERSION = 1
HEAD_BYTES = 64
_HEADER = struct.Struct("<8s4I")
_CRC = struct.Struct("<I")
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class EmbeddingFile:
    """Where embeddings of one shape lie on the disk.

    Attributes:
        path: the file.
        shape: channels, rows and columns of every embedding in it.
    """

    path: Path
    shape: tuple[int, int, int]

    @classmethod
    def open(cls, path: Path) -> "EmbeddingFile | None":
        """A file that exists; None if it is not one of these, or of another version.

        Raises:
            OSError: it cannot be read.
        """
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
        if len(head) < HEAD_BYTES:
            return None
        magic, version, *shape = _HEADER.unpack_from(head)
        (crc,) = _CRC.unpack_from(head, _HEADER.size)
        known = (magic, version) == (MAGIC, VERSION) and crc == zlib.crc32(head[: _HEADER.size])
        return cls(path, (shape[0], shape[1], shape[2])) if known else None

    @property
    def record_bytes(self) -> int:
        """Size of one record, its head included."""
        channels, rows, cols = self.shape
        return HEAD_BYTES + 2 * channels * rows * cols

    def count(self) -> int:
        """Whole records in the file; a last one that is cut short does not count."""
        return max(0, self.path.stat().st_size - HEAD_BYTES) // self.record_bytes

    def keys(self, start: int = 0) -> Iterator[bytes]:
        """The keys of whole records, from number `start` on."""
        count = self.count()
        with self.path.open("rb") as stream:
            for number in range(start, count):
                stream.seek(self._place(number))
                yield stream.read(KEY_BYTES)

    def read(self, number: int, key: bytes) -> Float[Tensor, "1 c h w"] | None:
        """The embedding of a record, in fp32; None if it is not whole, not that key or damaged.

        Read through a memory map that is closed again: a file still mapped could neither be
        removed on Windows nor, anywhere, be cut short without harm.
        """
        if number >= self.count():
            return None
        place = self._place(number)
        record = np.memmap(self.path, np.uint8, "c", offset=place, shape=(self.record_bytes,))
        values = record[HEAD_BYTES:]
        (crc,) = _CRC.unpack_from(record.data, KEY_BYTES)
        if record[:KEY_BYTES].tobytes() != key or crc != zlib.crc32(values.data, zlib.crc32(key)):
            return None
        stored = torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
        return stored.reshape(1, *self.shape).float()

    def add(self, key: bytes, values: BFloat16[Tensor, "c h w"]) -> None:
        """Write a record at the end, over one that is cut short; make the file if there is none.

        One writer at a time: the caller sees to that.

        Raises:
            OSError: the disk refuses.
        """
        record = _record(key, values)
        if not self.path.exists():
            with atomic_path(self.path) as partial:
                partial.write_bytes(self._header() + record)
            return
        with self.path.open("r+b") as stream:
            stream.seek(self._place(self.count()))
            stream.write(record)
            stream.truncate()

    def _place(self, number: int) -> int:
        return HEAD_BYTES + number * self.record_bytes

    def _header(self) -> bytes:
        head = _HEADER.pack(MAGIC, VERSION, *self.shape)
        return (head + _CRC.pack(zlib.crc32(head))).ljust(HEAD_BYTES, b"\0")


def _record(key: bytes, values: BFloat16[Tensor, "c h w"]) -> bytes:
    content = values.contiguous().view(torch.int16).numpy().tobytes()
    head = key + _CRC.pack(zlib.crc32(content, zlib.crc32(key)))
    return head.ljust(HEAD_BYTES, b"\0") + content
