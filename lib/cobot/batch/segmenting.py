"""The second stage: slices of several cases through one model, in common batches."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, final, runtime_checkable

import numpy as np

from cobot.batch.reading import UNREADABLE, FailedCase, PreparedCase, describe_error
from cobot.sam.answer import SliceEmbedding
from cobot.sam.embed_many import BatchPlan, SliceJob, embed_many
from cobot.sam.segmenter import SliceSegmenter
from cobot.slicing import cut_slice, settle_overlaps, stack_masks
from cobot.volume import LabelMap


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedCase:
    """A case with its masks.

    Attributes:
        prepared: what it was made of.
        label_map: on the image's grid.
        confidence: label to slice index to the decoder's own guess of the mask's quality.
        seconds: that it took; of a batch shared with another case, its slices' part.
        warnings: what a reader should look at, a sentence each.
    """

    prepared: PreparedCase
    label_map: LabelMap
    confidence: dict[str, dict[int, float]]
    seconds: float
    warnings: tuple[str, ...] = ()


CaseOutcome = SegmentedCase | FailedCase


@runtime_checkable
class CaseSegmenter(Protocol):
    """Something that segments prepared cases."""

    def segment(self, cases: Iterable[PreparedCase | FailedCase]) -> Iterator[CaseOutcome]:
        """Each case's outcome, in any order, as soon as it is complete."""
        ...


@dataclass(slots=True, eq=False)
class _Open:
    """A case whose slices are being answered."""

    prepared: PreparedCase
    waiting: int
    pictures: dict[int, np.ndarray] = field(default_factory=dict)
    confidence: dict[str, dict[int, float]] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None

    def outcome(self) -> CaseOutcome:
        case = self.prepared
        if self.error is not None:
            return FailedCase(case.case, self.error, case.fingerprint)
        started = time.perf_counter()
        label_map = stack_masks(self.pictures, case.plane, case.volume, case.asked.labels)
        seconds = self.seconds + time.perf_counter() - started
        return SegmentedCase(case, label_map, self.confidence, seconds, _not_found(case, label_map))


def _not_found(case: PreparedCase, label_map: LabelMap) -> tuple[str, ...]:
    """What was asked for and is not in the answer."""
    asked = {label for given in case.asked.slices.values() for label, _ in given}
    if not asked:
        return ("nothing was asked of this image: its coarse mask or its prompts are empty",)
    present = set(np.unique(label_map.voxels).tolist())
    return tuple(
        f"{label!r} was asked for and nothing was found"
        for value, label in label_map.labels.items()
        if label in asked and value not in present
    )


@final
class CaseStream:
    """Cases through a segmenter, in their order; a batch may hold slices of several."""

    def __init__(self, segmenter: SliceSegmenter, slices_at_once: int) -> None:
        """Use a model; nothing is computed yet."""
        self._segmenter = segmenter
        self._plan = BatchPlan(slices_at_once)
        self._open: deque[_Open] = deque()
        self._finished: deque[CaseOutcome] = deque()

    def segment(self, cases: Iterable[PreparedCase | FailedCase]) -> Iterator[CaseOutcome]:
        """Each case's outcome as soon as it is complete; failed ones are handed through.

        Cases are asked for when a batch needs slices, so at most two or three are held here.
        """
        last = time.perf_counter()
        for job, embedding in embed_many(self._segmenter, self._jobs(cases), self._plan):
            current = self._open[0]
            self._answer(current, job, embedding)
            now = time.perf_counter()
            current.seconds += now - last
            if current.waiting == 0:
                self._finished.append(self._open.popleft().outcome())
            yield from self._drain()
            last = time.perf_counter()
        yield from self._drain()

    def _jobs(self, cases: Iterable[PreparedCase | FailedCase]) -> Iterator[SliceJob]:
        for case in cases:
            if isinstance(case, FailedCase):
                self._finished.append(case)
                continue
            opened = _Open(case, waiting=len(case.asked.slices))
            if opened.waiting == 0:
                self._finished.append(opened.outcome())
                continue
            self._open.append(opened)
            for index, asked in case.asked.slices.items():
                slice_ = cut_slice(case.volume, case.plane, index)
                prompts = tuple(given for _, given in asked)
                yield SliceJob(slice_, case.window, prompts, case.case.name)

    def _answer(self, opened: _Open, job: SliceJob, embedding: SliceEmbedding) -> None:
        opened.waiting -= 1
        if opened.error is not None:
            return
        case, index = opened.prepared, job.slice_.index
        try:
            masks = self._segmenter.decode(embedding, job.prompts)
        except UNREADABLE as error:
            opened.error = describe_error(error, case.case)
            return
        labelled = [
            (label, mask) for (label, _), mask in zip(case.asked.slices[index], masks, strict=True)
        ]
        values = {name: value for value, name in case.asked.labels.items()}
        compact = np.uint8 if max(values.values(), default=0) <= 255 else np.uint16
        claims = [(values[label], mask.logits) for label, mask in labelled]
        opened.pictures[index] = settle_overlaps(claims).astype(compact)
        for label, mask in labelled:
            by_slice = opened.confidence.setdefault(label, {})
            by_slice[index] = min(by_slice.get(index, mask.predicted_iou), mask.predicted_iou)

    def _drain(self) -> Iterator[CaseOutcome]:
        while self._finished:
            yield self._finished.popleft()
