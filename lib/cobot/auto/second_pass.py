"""The first pass's boxes ask the adapted SAM again, as an annotator's would."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cc3d
import numpy as np

from cobot.auto.first_pass import LabelAnswer, ShownVolume
from cobot.prompts import Prompts, tight_box
from cobot.sam.embed_many import BatchPlan, SliceJob, embed_many
from cobot.sam.segmenter import SliceSegmenter
from cobot.shapes import Mask
from cobot.slicing import cut_slice

LEAST_PART = 0.1
"""Of a label's pixels on a slice: a smaller part gets no box of its own."""

LEAST_AGREEMENT = 0.5
"""IoU with what asked for it; an answer that agrees less is another structure."""


@dataclass(frozen=True, slots=True, eq=False)
class SecondAnswer:
    """A label asked again on one slice.

    Attributes:
        answer: the box's answer, or the first pass's mask where that one disagreed.
        agreement: IoU of the two.
    """

    answer: LabelAnswer
    agreement: float


def second_looks(
    shown: ShownVolume,
    first: Mapping[int, Mapping[str, Mask]],
    segmenter: SliceSegmenter,
    plan: BatchPlan,
) -> Iterator[tuple[int, str, SecondAnswer]]:
    """Slice, label and what the boxes of its parts bring.

    Args:
        shown: the volume.
        first: slice index to label to its mask there, not empty.
        segmenter: the adapted model.
        plan: how slices are embedded; its cache spares those of the first pass.
    """
    asked: list[list[str]] = []

    def jobs() -> Iterator[SliceJob]:
        for index, masks in sorted(first.items()):
            for window, names in shown.windows.items():
                here = [name for name in names if name in masks]
                if here:
                    boxes = [box for name in here for box in part_boxes(masks[name])]
                    asked.append(here)
                    slice_ = cut_slice(shown.volume, shown.plane, index)
                    yield SliceJob(slice_, window, tuple(boxes), shown.name)

    for job, embedding in embed_many(segmenter, jobs(), plan):
        answers = iter(segmenter.decode(embedding, job.prompts))
        masks = first[job.slice_.index]
        for name in asked.pop(0):
            parts = [next(answers) for _ in part_boxes(masks[name])]
            logits = np.maximum.reduce([one.logits for one in parts])
            areas = [1.0 + float(one.mask.sum()) for one in parts]
            iou = float(np.average([one.predicted_iou for one in parts], weights=areas))
            yield job.slice_.index, name, settled(masks[name], LabelAnswer(logits, iou))


def part_boxes(mask: Mask) -> list[Prompts]:
    """A tight box around each part of a mask that is large enough, largest first."""
    parts = np.asarray(cc3d.connected_components(mask, connectivity=8))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    large = [part for part in np.argsort(-sizes) if sizes[part] >= LEAST_PART * sizes.max()]
    return [Prompts(box_xyxy=tight_box(parts == part)) for part in large if sizes[part]]


def settled(first: Mask, second: LabelAnswer) -> SecondAnswer:
    """The second answer, unless it has become another structure."""
    mask = second.logits > 0
    agreement = float((mask & first).sum() / max(1, (mask | first).sum()))
    if agreement >= LEAST_AGREEMENT:
        return SecondAnswer(second, agreement)
    kept = np.where(first, np.float32(1), np.float32(-1))
    return SecondAnswer(LabelAnswer(kept, second.predicted_iou), agreement)
