"""The decoder's hundred small steps as CUDA graphs, for a few numbers of prompts.

On a GPU a click is a matter of starting kernels, not of computing. Questions are filled up to the
next of a few sizes, and each kind is recorded when it is met the second time.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, final, runtime_checkable

import torch
from segment_anything.modeling import MaskDecoder
from torch import Tensor

from cobot.sam.cuda_graph import record
from cobot.sam.reduced_decoder import ChosenMasks, Question, decode_chosen
from cobot.sam.slice_memory import SliceMemory

BUCKETS = (1, 4, 16)
"""Numbers of prompts that are recorded; more at once are computed step by step."""

KINDS_KEPT = 8
"""Some 50 MB a prompt each at 1024 px, the last used stay."""


@runtime_checkable
class RecordedDecoder(Protocol):
    """Answers questions of one kind."""

    def decode(self, memory: SliceMemory, asked: Question) -> ChosenMasks:
        """As `decode_chosen`."""
        ...


Recorder = Callable[[MaskDecoder, SliceMemory, Question], RecordedDecoder]


@dataclass(frozen=True, slots=True, eq=False)
class DecoderRecording:
    """A decoder for questions of one kind, as a CUDA graph.

    Attributes:
        graph: the recording.
        memory: what it reads of the slice; positions are the model's own.
        asked: what it reads of the prompts.
        chosen: what it writes.
    """

    graph: torch.cuda.CUDAGraph
    memory: SliceMemory
    asked: Question
    chosen: ChosenMasks

    def decode(self, memory: SliceMemory, asked: Question) -> ChosenMasks:
        """As `decode_chosen`; the next call overwrites nothing of the result."""
        for own, given in zip(
            _tensors(self.memory, self.asked), _tensors(memory, asked), strict=True
        ):
            own.copy_(given)
        self.graph.replay()
        return ChosenMasks(self.chosen.logits.clone(), self.chosen.predicted_iou.clone())


def record_decoder(decoder: MaskDecoder, memory: SliceMemory, asked: Question) -> DecoderRecording:
    """Record a decoder for questions like this one, on a CUDA device."""
    memory, asked = own_copies(memory, asked)
    device = asked.sparse.device
    graph, chosen = record(lambda: decode_chosen(decoder, memory, asked), device)
    return DecoderRecording(graph, memory, asked, chosen)


def own_copies(memory: SliceMemory, asked: Question) -> tuple[SliceMemory, Question]:
    """The same on memory of their own, which may be written to."""
    changed = None if asked.changed is None else asked.changed.clone()
    return (
        replace(
            memory,
            image=memory.image.clone(),
            key=memory.key.clone(),
            value=memory.value.clone(),
            query=memory.query.clone(),
        ),
        replace(
            asked,
            sparse=asked.sparse.clone(),
            ambiguous=asked.ambiguous.clone(),
            changed=changed,
        ),
    )


def _tensors(memory: SliceMemory, asked: Question) -> list[Tensor]:
    """What differs from one question to the next of its kind."""
    changed = [] if asked.changed is None else [asked.changed]
    of_slice = [memory.image, memory.key, memory.value, memory.query]
    return [*of_slice, asked.sparse, asked.ambiguous, *changed]


@final
class DecoderGraphs:
    """The recordings of one decoder, for whoever holds the turn at it.

    A kind is computed step by step when it is met first, and recorded when it comes again. All are
    dropped when the decoder's weights have moved; written to in place, they are read as they are.
    """

    def __init__(self, decoder: MaskDecoder, recorder: Recorder = record_decoder) -> None:
        """Record nothing yet.

        Args:
            decoder: on a CUDA device.
            recorder: makes a recording.
        """
        self._decoder = decoder
        self._recorder = recorder
        self._met: OrderedDict[tuple[object, ...], RecordedDecoder | None] = OrderedDict()
        self._places = self._weight_places()

    def decode(self, memory: SliceMemory, asked: Question) -> ChosenMasks:
        """As `decode_chosen`."""
        count = len(asked.sparse)
        bucket = bucket_for(count)
        if bucket is None:
            return decode_chosen(self._decoder, memory, asked)
        filled = fill_up(asked, bucket)
        recorded = self._recorded(memory, filled)
        if recorded is None:
            return decode_chosen(self._decoder, memory, asked)
        chosen = recorded.decode(memory, filled)
        return ChosenMasks(chosen.logits[:count], chosen.predicted_iou[:count])

    def _recorded(self, memory: SliceMemory, asked: Question) -> RecordedDecoder | None:
        """The recording of this kind; None when it is met for the first time."""
        self._drop_outdated()
        kind = (
            tuple(asked.sparse.shape),
            tuple(memory.image.shape),
            asked.several,
            asked.changed is not None,
        )
        if kind not in self._met:
            self._met[kind] = None
            if len(self._met) > KINDS_KEPT:
                self._met.popitem(last=False)
            return None
        self._met.move_to_end(kind)
        if self._met[kind] is None:
            self._met[kind] = self._recorder(self._decoder, memory, asked)
        return self._met[kind]

    def _drop_outdated(self) -> None:
        now = self._weight_places()
        if now != self._places:
            self._places = now
            self._met.clear()

    def _weight_places(self) -> tuple[int, ...]:
        return tuple(parameter.data_ptr() for parameter in self._decoder.parameters())


def bucket_for(count: int) -> int | None:
    """The smallest recorded number of prompts that holds so many; None if none does.

    >>> [bucket_for(count) for count in (1, 2, 16, 17)]
    [1, 4, 16, None]
    """
    return next((bucket for bucket in BUCKETS if bucket >= count), None)


def fill_up(asked: Question, bucket: int) -> Question:
    """The same with its first prompt repeated; prompts do not see each other."""
    missing = bucket - len(asked.sparse)
    if missing == 0:
        return asked

    def filled(tensor: Tensor) -> Tensor:
        return torch.cat([tensor, tensor[:1].expand(missing, *tensor.shape[1:])])

    return replace(
        asked,
        sparse=filled(asked.sparse),
        ambiguous=filled(asked.ambiguous),
        changed=None if asked.changed is None else filled(asked.changed),
    )
