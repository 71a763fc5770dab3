"""Another second pass: each label is followed through the volume from its most certain slice."""

from collections.abc import Iterator, Mapping

import numpy as np

from cobot.auto.first_pass import LabelAnswer, ShownVolume
from cobot.auto.second_pass import SecondAnswer, part_boxes
from cobot.propagate import Seeds, propagate
from cobot.propagate_slices import VolumeSlices
from cobot.sam.embeddings import EmbeddingService
from cobot.sam.segmenter import SliceSegmenter
from cobot.shapes import Mask

LARGE_ENOUGH = 0.5
"""Of the label's largest area on a slice: a small one tells too little of the structure."""


def followed_labels(
    shown: ShownVolume,
    first: Mapping[int, Mapping[str, Mask]],
    certainty: Mapping[tuple[str, int], float],
    segmenter: SliceSegmenter,
    embeddings: EmbeddingService,
) -> Iterator[tuple[int, str, SecondAnswer]]:
    """Slice, label and what following it brings; slices that are not reached lose the label.

    Args:
        shown: the volume.
        first: slice index to label to its mask there, not empty.
        certainty: of a label on a slice, as far as the first pass knows.
        segmenter: the adapted model.
        embeddings: where embeddings are kept.
    """
    for window, names in shown.windows.items():
        slices = VolumeSlices(shown.volume, shown.plane, window, segmenter, embeddings, shown.name)
        for name in names:
            held = {index: masks[name] for index, masks in first.items() if name in masks}
            if held:
                yield from _followed(slices, name, held, certainty)


def start_slice(
    name: str, held: Mapping[int, Mask], certainty: Mapping[tuple[str, int], float]
) -> int:
    """The most certain of the slices on which the label is large."""
    areas = {index: int(mask.sum()) for index, mask in held.items()}
    large = [index for index in held if areas[index] >= LARGE_ENOUGH * max(areas.values())]
    return max(large, key=lambda index: (certainty.get((name, index), 0.0), areas[index]))


def _followed(
    slices: VolumeSlices,
    name: str,
    held: Mapping[int, Mask],
    certainty: Mapping[tuple[str, int], float],
) -> Iterator[tuple[int, str, SecondAnswer]]:
    start = start_slice(name, held, certainty)
    logits: dict[int, np.ndarray] = {}
    iou: dict[int, list[float]] = {}
    for box in part_boxes(held[start]):
        for index, one in propagate(slices, Seeds({start: box})).slices.items():
            known = logits.get(index)
            logits[index] = one.logits if known is None else np.maximum(known, one.logits)
            iou.setdefault(index, []).append(one.predicted_iou)
    for index, found in logits.items():
        before = held.get(index)
        answer = LabelAnswer(found.astype(np.float32), float(np.mean(iou[index])))
        yield index, name, SecondAnswer(answer, 0.0 if before is None else _iou(found > 0, before))


def _iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))
