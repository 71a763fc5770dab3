"""Embeddings that outlive the process: a folder of files, one a volume, under a size limit."""

import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from filelock import FileLock
from jaxtyping import Float
from torch import Tensor

from cobot.sam.embedding_file import HEAD_BYTES, EmbeddingFile

SUFFIX = ".cobotemb"
_LOCK_NAME = ".embeddings.lock"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Indexed:
    """How much of a file is in the index."""

    file: EmbeddingFile
    count: int


@final
class EmbeddingDisk:
    """Embeddings in bfloat16 by key, for many threads and processes.

    Files carry no name of a patient or study. The least recently used files go when the folder
    would exceed its limit. Whatever is wrong with the disk or with a file costs an embedding, never
    an answer: it is logged, a damaged file is removed, and the caller encodes again.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Use a folder, made when first written to (for this user only), for up to `limit_bytes`.

        The folder's other files are neither counted nor touched.
        """
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._indexed: dict[Path, _Indexed] = {}
        self._places: dict[bytes, tuple[Path, int]] = {}

    def load(self, key: str) -> Float[Tensor, "1 c h w"] | None:
        """The embedding of a key, in fp32 on the CPU, or None.

        Args:
            key: 64 hexadecimal digits.
        """
        try:
            with self._lock:
                return self._load(bytes.fromhex(key))
        except (OSError, ValueError) as error:
            # A file that another process removes or cuts while it is read: mmap says ValueError.
            logger.warning("An embedding could not be read: %s", error)
            return None

    def store(self, volume: str, key: str, features: Float[Tensor, "1 c h w"]) -> None:
        """Keep an embedding, rounded to bfloat16, unless it is there or does not fit the limit.

        Args:
            volume: names the volume and the model; embeddings of one are kept and dropped together.
            key: 64 hexadecimal digits.
            features: on any device.
        """
        values = features[0].detach().to(torch.bfloat16).cpu()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._lock, FileLock(self._folder / _LOCK_NAME):
                self._store(volume, bytes.fromhex(key), values)
        except OSError as error:
            logger.warning("An embedding could not be kept: %s", error)

    def used_bytes(self) -> int:
        """Size of all embedding files in the folder."""
        return sum(stat.st_size for stat in self._stats().values())

    def _load(self, key: bytes) -> Float[Tensor, "1 c h w"] | None:
        if key not in self._places:
            self._refresh()
        if key not in self._places:
            return None
        path, number = self._places[key]
        try:
            features = self._indexed[path].file.read(number, key)
        except FileNotFoundError:
            self._forget(path)
            return None
        if features is None:
            self._remove(path, "is damaged")
            return None
        with suppress(OSError):
            os.utime(path)
        return features

    def _store(self, volume: str, key: bytes, values: Tensor) -> None:
        self._refresh()
        if key in self._places:
            return
        channels, rows, cols = values.shape
        name = hashlib.sha256(f"{volume}|{tuple(values.shape)}".encode()).hexdigest()[:32]
        file = EmbeddingFile(self._folder / f"{name}{SUFFIX}", (channels, rows, cols))
        if not file.path.exists():
            self._sweep()
        if self._make_room(file):
            file.add(key, values)
            self._index(file.path)

    def _sweep(self) -> None:
        """Remove what writers left that were killed while they made a file; none is at it now."""
        for path in self._folder.glob(f".*.partial{SUFFIX}"):
            path.unlink(missing_ok=True)

    def _make_room(self, file: EmbeddingFile) -> bool:
        """Remove other files, the least recently used first, until a record of this one fits."""
        stats = self._stats()
        new_file = 0 if file.path in stats else HEAD_BYTES
        excess = sum(stat.st_size for stat in stats.values()) - self._limit_bytes
        excess += file.record_bytes + new_file
        others = sorted(stats.keys() - {file.path}, key=lambda path: stats[path].st_mtime_ns)
        for path in others:
            if excess <= 0:
                break
            if self._remove(path, "makes room"):
                excess -= stats[path].st_size
        return excess <= 0

    def _refresh(self) -> None:
        """Take in what this or another process has written, and forget what is gone."""
        present = self._stats()
        for path in self._indexed.keys() - present.keys():
            self._forget(path)
        for path in present:
            with suppress(FileNotFoundError):
                self._index(path)

    def _index(self, path: Path) -> None:
        """Read the keys that were added to a file since it was read last."""
        known = self._indexed.get(path)
        file = known.file if known else EmbeddingFile.open(path)
        if file is None:
            self._remove(path, "is no embedding file of this version")
            return
        start, count = (known.count if known else 0), file.count()
        if count < start:
            self._forget(path)
            start = 0
        for number, key in enumerate(file.keys(start), start):
            self._places[key] = (path, number)
        self._indexed[path] = _Indexed(file, count)

    def _remove(self, path: Path, why: str) -> bool:
        """Delete a file, unless the system holds on to it; tell whether it is gone."""
        self._forget(path)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("Embedding file %s %s but stays: %s", path.name, why, error)
            return False
        logger.info("Embedding file %s %s and was removed", path.name, why)
        return True

    def _forget(self, path: Path) -> None:
        self._indexed.pop(path, None)
        self._places = {key: place for key, place in self._places.items() if place[0] != path}

    def _stats(self) -> dict[Path, os.stat_result]:
        return dict(_stats(self._folder))


def _stats(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The embedding files of a folder that may be missing, or change meanwhile."""
    for path in folder.glob(f"*{SUFFIX}"):
        if not path.name.startswith("."):
            with suppress(FileNotFoundError):
                yield path, path.stat()
