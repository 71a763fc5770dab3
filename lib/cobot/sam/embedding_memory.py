"""The embeddings used last, up to a limit of memory."""

from collections import OrderedDict
from dataclasses import replace
from typing import final

from cobot.sam.answer import SliceEmbedding


@final
class EmbeddingMemory:
    """Embeddings by key; the least recently used go first. For one thread at a time."""

    def __init__(self, limit_bytes: int) -> None:
        """Keep up to `limit_bytes`; an embedding larger than that is not kept."""
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[str, SliceEmbedding] = OrderedDict()
        self._used_bytes = 0

    @property
    def used_bytes(self) -> int:
        """Memory of the embeddings kept."""
        return self._used_bytes

    def get(self, key: str) -> SliceEmbedding | None:
        """The embedding of a key, now the most recently used, or None."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, embedding: SliceEmbedding) -> None:
        """Keep an embedding as the most recently used."""
        self._drop(embedding.key)
        if embedding.features.nbytes > self._limit_bytes:
            return
        self._kept[embedding.key] = embedding
        self._used_bytes += embedding.features.nbytes
        while self._used_bytes > self._limit_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        dropped = self._kept.pop(key, None)
        if dropped is not None:
            self._used_bytes -= dropped.features.nbytes


def apart(embedding: SliceEmbedding) -> SliceEmbedding:
    """The same embedding on memory of its own: a part of a batch would keep the whole batch."""
    features = embedding.features
    if features.untyped_storage().nbytes() == features.nbytes:
        return embedding
    return replace(embedding, features=features.clone())
