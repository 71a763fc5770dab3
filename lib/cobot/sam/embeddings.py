"""Embeddings of slices, each computed once for everyone: in memory, on disk, and ahead of time."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, final, runtime_checkable

import torch

from cobot.sam.answer import SliceEmbedding
from cobot.sam.embedding_disk import EmbeddingDisk
from cobot.sam.embedding_memory import EmbeddingMemory, apart
from cobot.sam.home import cobot_home
from cobot.sam.prefetch import Prefetcher
from cobot.sam.segmenter import SliceView

MEMORY_BYTES = 512 * 2**20
"""128 slices of SAM at 1024 px, at 4 MiB each."""

DISK_BYTES = 8 * 2**30
"""4000 slices of SAM at 1024 px, at 2 MiB each."""

Source = Literal["memory", "disk", "shared", "encoder"]


@runtime_checkable
class ViewEncoder(Protocol):
    """What the service needs of a segmenter."""

    device: torch.device

    @property
    def embedding_key(self) -> str:
        """What embeddings of different models differ by."""
        ...

    def encode(self, views: Sequence[SliceView]) -> list[SliceEmbedding]:
        """Embed views in one encoder batch."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class WantedSlice:
    """A slice whose embedding is wanted.

    Attributes:
        view: the slice, as the segmenter that is asked would show it.
        volume: names its volume: embeddings of one volume by one model share a file on disk. What
            is found depends on `view.key` alone.
    """

    view: SliceView
    volume: str = ""


@dataclass(frozen=True, slots=True)
class FoundEmbedding:
    """An embedding, and where it came from.

    Attributes:
        embedding: of the slice.
        source: "memory" or "disk"; "shared" if someone else was encoding the slice already and
            this request waited; "encoder" if this request encoded it.
    """

    embedding: SliceEmbedding
    source: Source

    @property
    def cached(self) -> bool:
        """Whether it was there before it was asked for."""
        return self.source in ("memory", "disk")


@final
class EmbeddingService:
    """One for a process, its models, its threads and its annotators.

    Embeddings are found by `SliceView.key`, the SHA-256 of everything they depend on, so models and
    adapters need not be told apart. In memory they are what the encoder gave, bit for bit; on disk
    they are rounded to bfloat16, which changes answers as running the encoder in bfloat16 does.

    Two requests for one slice encode it once; if that fails both are told, and nothing is kept.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES, disk: EmbeddingDisk | None = None) -> None:
        """Keep up to `memory_bytes` in memory and, if a disk tier is given, more there."""
        self._lock = threading.Lock()
        self._memory = EmbeddingMemory(memory_bytes)
        self._disk = disk
        self._coming: dict[str, Future[SliceEmbedding]] = {}
        self._ahead = Prefetcher()

    @classmethod
    def in_home(
        cls, memory_bytes: int = MEMORY_BYTES, disk_bytes: int = DISK_BYTES
    ) -> "EmbeddingService":
        """A service with a disk tier in COBOT_HOME/embeddings; 0 bytes are no disk tier."""
        if disk_bytes == 0:
            return cls(memory_bytes)
        return cls(memory_bytes, EmbeddingDisk(cobot_home() / "embeddings", disk_bytes))

    def get(self, encoder: ViewEncoder, wanted: WantedSlice) -> FoundEmbedding:
        """The embedding of one slice; see `get_many`."""
        return self.get_many(encoder, [wanted])[0]

    def get_many(self, encoder: ViewEncoder, wanted: Sequence[WantedSlice]) -> list[FoundEmbedding]:
        """Embeddings in the order asked; those that nobody has are encoded in one batch.

        Args:
            encoder: the segmenter that made the views.
            wanted: of one or several volumes, also the same slice more than once.

        Raises:
            Exception: whatever the encoder raises, also when another request runs it.
        """
        with self._ahead.paused():
            return self._fetch(encoder, wanted)

    def requests_first(self) -> AbstractContextManager[None]:
        """Begin no work ahead within the block; for a request that does more than embed."""
        return self._ahead.paused()

    def prefetch(self, viewer: str, encoder: ViewEncoder, wanted: Iterator[WantedSlice]) -> None:
        """Embed slices one by one in the background while no request runs.

        Args:
            viewer: whose; what was to be prefetched for them before is dropped.
            encoder: the segmenter that makes the views.
            wanted: most urgent first; asked for one at a time, in the background thread.
        """
        self._ahead.follow(viewer, (self._fetch(encoder, [one]) for one in wanted))

    def cancel_prefetch(self, viewer: str | None = None) -> None:
        """Drop what is to be prefetched for a viewer, or for all; a slice begun is finished."""
        self._ahead.forget(viewer)

    @property
    def memory_used_bytes(self) -> int:
        """Memory of the embeddings kept."""
        with self._lock:
            return self._memory.used_bytes

    def close(self) -> None:
        """End the background thread after the slice it is at; requests are still answered."""
        self._ahead.close()

    def _fetch(self, encoder: ViewEncoder, wanted: Sequence[WantedSlice]) -> list[FoundEmbedding]:
        claims = [self._claim(one.view.key) for one in wanted]
        ours = [
            (one, claim.coming)
            for one, claim in zip(wanted, claims, strict=True)
            if claim.coming is not None and claim.ours
        ]
        from_disk = self._fill(encoder, ours)
        return [
            _collect(claim, one.view.key in from_disk)
            for one, claim in zip(wanted, claims, strict=True)
        ]

    def _claim(self, key: str) -> "_Claim":
        """Take an embedding from memory, join those who wait for it, or promise to bring it."""
        with self._lock:
            kept = self._memory.get(key)
            if kept is not None:
                return _Claim(kept, None, False)
            if key in self._coming:
                return _Claim(None, self._coming[key], False)
            self._coming[key] = Future()
            return _Claim(None, self._coming[key], True)

    def _fill(
        self, encoder: ViewEncoder, ours: Sequence[tuple[WantedSlice, "Future[SliceEmbedding]"]]
    ) -> set[str]:
        """Keep every promise made, from disk or by one encoder batch; tell which came from disk."""
        try:
            loaded = {one.view.key: self._load(encoder, one.view) for one, _ in ours}
            missing = [one for one, _ in ours if loaded[one.view.key] is None]
            encoded = encoder.encode([one.view for one in missing]) if missing else []
            brought = {one.key: apart(one) for one in (*loaded.values(), *encoded) if one}
            for one, coming in ours:
                self._publish(brought[one.view.key], coming)
        except BaseException as error:
            self._break_promises(ours, error)
            raise
        self._store(encoder, missing, brought)
        return loaded.keys() - {one.view.key for one in missing}

    def _load(self, encoder: ViewEncoder, view: SliceView) -> SliceEmbedding | None:
        features = self._disk.load(view.key) if self._disk else None
        if features is None:
            return None
        return SliceEmbedding(features.to(encoder.device), view.frame, view.key)

    def _publish(self, embedding: SliceEmbedding, coming: "Future[SliceEmbedding]") -> None:
        with self._lock:
            self._memory.put(embedding)
            del self._coming[embedding.key]
        coming.set_result(embedding)

    def _break_promises(
        self,
        ours: Sequence[tuple[WantedSlice, "Future[SliceEmbedding]"]],
        error: BaseException,
    ) -> None:
        for one, coming in ours:
            if not coming.done():
                with self._lock:
                    self._coming.pop(one.view.key, None)
                coming.set_exception(error)

    def _store(
        self,
        encoder: ViewEncoder,
        encoded: Sequence[WantedSlice],
        brought: dict[str, SliceEmbedding],
    ) -> None:
        """Write to disk what was encoded, when those who waited for it have it already."""
        if self._disk:
            for one in encoded:
                volume = f"{one.volume}|{encoder.embedding_key}"
                self._disk.store(volume, one.view.key, brought[one.view.key].features)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What is known of one wanted embedding: it, or who will bring it."""

    kept: SliceEmbedding | None
    coming: "Future[SliceEmbedding] | None"
    ours: bool


def _collect(claim: _Claim, from_disk: bool) -> FoundEmbedding:
    if claim.coming is None:
        assert claim.kept is not None
        return FoundEmbedding(claim.kept, "memory")
    source: Source = ("disk" if from_disk else "encoder") if claim.ours else "shared"
    return FoundEmbedding(claim.coming.result(), source)
