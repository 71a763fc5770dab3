"""Embeddings of any number of slices, a few to a batch, whatever volumes they belong to."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from cobot.intensity import IntensityWindow
from cobot.planes import Slice
from cobot.prompts import Prompts
from cobot.sam.answer import SliceEmbedding
from cobot.sam.embeddings import EmbeddingService, WantedSlice
from cobot.sam.segmenter import SliceSegmenter, SliceView

SLICES_AT_ONCE = 4
"""Slices in one encoder batch; at 1024 px more is not faster and takes memory."""


@dataclass(frozen=True, slots=True, eq=False)
class SliceJob:
    """A slice to embed.

    Attributes:
        slice_: of any volume, of any size: a segmenter shows all slices at one side.
        window: black to white, of its volume.
        prompts: what will be asked of it; a slice cropped to the body then holds them too.
        volume: names its volume in the cache on disk, if one is used.
    """

    slice_: Slice
    window: IntensityWindow
    prompts: tuple[Prompts, ...] = ()
    volume: str = ""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How slices are taken together.

    Attributes:
        slices_at_once: the most slices in one encoder batch.
        cache: where embeddings are looked up and kept; None encodes everything and keeps nothing.
        ahead: whether a thread windows and keys the next batch meanwhile; it is then asked for one
            batch early. None does so on CUDA, where the host would be idle.
    """

    slices_at_once: int = SLICES_AT_ONCE
    cache: EmbeddingService | None = None
    ahead: bool | None = None


def embed_many(
    segmenter: SliceSegmenter, jobs: Iterable[SliceJob], plan: BatchPlan = BatchPlan()
) -> Iterator[tuple[SliceJob, SliceEmbedding]]:
    """Each job with its embedding, in the order given.

    Jobs are asked for when a batch needs them, so they may come from volumes read one after the
    other, and the last slices of one volume share a batch with the first of the next.

    Raises:
        ConfigError: the segmenter's side is not a multiple of the encoder's patch.
    """
    remaining = iter(jobs)
    batches = iter(lambda: list(islice(remaining, plan.slices_at_once)), [])
    ahead = segmenter.device.type == "cuda" if plan.ahead is None else plan.ahead
    viewed = _viewed_ahead if ahead else _viewed
    for batch, views in viewed(segmenter, batches):
        yield from zip(batch, _embed(segmenter, batch, views, plan.cache), strict=True)


ViewedBatch = tuple[Sequence[SliceJob], Sequence[SliceView]]


def _viewed(
    segmenter: SliceSegmenter, batches: Iterator[Sequence[SliceJob]]
) -> Iterator[ViewedBatch]:
    return ((batch, _views(segmenter, batch)) for batch in batches)


def _viewed_ahead(
    segmenter: SliceSegmenter, batches: Iterator[Sequence[SliceJob]]
) -> Iterator[ViewedBatch]:
    """The same; while one batch is worked on, a thread makes the views of the next."""
    with ThreadPoolExecutor(1, thread_name_prefix="views") as thread:
        waiting: list[tuple[Sequence[SliceJob], Future[list[SliceView]]]] = []
        for batch in batches:
            waiting.append((batch, thread.submit(_views, segmenter, batch)))
            if len(waiting) > 1:
                ready, coming = waiting.pop(0)
                yield ready, coming.result()
        for ready, coming in waiting:
            yield ready, coming.result()


def _views(segmenter: SliceSegmenter, batch: Sequence[SliceJob]) -> list[SliceView]:
    return [segmenter.view(job.slice_, job.window, job.prompts) for job in batch]


def _embed(
    segmenter: SliceSegmenter,
    batch: Sequence[SliceJob],
    views: Sequence[SliceView],
    cache: EmbeddingService | None,
) -> list[SliceEmbedding]:
    if cache is None:
        return segmenter.encode(views)
    wanted = [WantedSlice(view, job.volume) for view, job in zip(views, batch, strict=True)]
    return [found.embedding for found in cache.get_many(segmenter, wanted)]
