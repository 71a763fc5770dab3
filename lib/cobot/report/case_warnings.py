"""What of a case deserves a look, in words, with a weight that puts it in order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cc3d
import numpy as np
from scipy import ndimage

from cobot.batch.record import CaseRecord
from cobot.geometry import patient_axes
from cobot.measures.compare import LabelScore
from cobot.report.plausible_volumes import BatchVolumes, implausible
from cobot.volume import LabelMap

MANY_PIECES = 4
"""Paired organs have two, and a vessel that leaves the slice three."""

LOW_SLICE, LOW_MEAN = 0.3, 0.6
"""Of the decoder's own guess of a mask's IoU: on the worst slice, and on average."""

LOW_DICE = 0.7

SIDES = (("left", "right"), ("back", "front"), ("feet", "head"))


@dataclass(frozen=True, slots=True)
class CaseWarning:
    """One thing to look at.

    Attributes:
        kind: in two or three words, for a badge.
        text: one sentence with the label and the figure.
        weight: how much it moves the case up.
    """

    kind: str
    text: str
    weight: float


def record_warnings(record: CaseRecord, batch: BatchVolumes) -> Iterator[CaseWarning]:
    """What the record tells without its mask: volumes, confidence, and the batch's own notes."""
    for note in record.warnings:
        yield CaseWarning("noted", note, 3.0)
    for label, volume_ml in record.volume_ml.items():
        if volume_ml > 0:
            if why := implausible(label, volume_ml):
                yield CaseWarning("volume", why, 2.0)
            if why := batch.outlier(label, volume_ml):
                yield CaseWarning("unlike the batch", why, 1.5)
    for label, by_slice in record.confidence.items():
        if by_slice:
            yield from _confidence_warnings(label, by_slice, record.axis or "?")


def mask_warnings(label_map: LabelMap) -> Iterator[CaseWarning]:
    """What the mask tells: structures at the edge of the image, and in many pieces."""
    edges = _touched_sides(label_map)
    boxes = ndimage.find_objects(label_map.voxels)
    for value, label in label_map.labels.items():
        if value > len(boxes) or boxes[value - 1] is None:
            continue
        if sides := edges.get(value):
            text = f"{label} touches the edge of the image towards the {' and the '.join(sides)}"
            yield CaseWarning("at the edge", text, 1.0)
        mask = label_map.voxels[boxes[value - 1]] == value
        pieces, count = cc3d.connected_components(mask, connectivity=26, return_N=True)
        if count >= MANY_PIECES:
            share = np.bincount(pieces.ravel())[1:].max() / mask.sum()
            # Never "100%": specks are what this is about.
            text = f"{label} is in {count} pieces; the largest has {min(share, 0.99):.0%} of it"
            yield CaseWarning("many pieces", text, 1.0)


def truth_warnings(scores: list[LabelScore]) -> Iterator[CaseWarning]:
    """What the truth tells."""
    for one in scores:
        dice = one.scores.dice
        if dice is not None and dice < LOW_DICE:
            yield CaseWarning("low Dice", f"{one.label} has Dice {dice:.2f} against the truth", 3.0)


def _confidence_warnings(
    label: str, by_slice: Mapping[int, float], axis: str
) -> Iterator[CaseWarning]:
    index, lowest = min(by_slice.items(), key=lambda item: item[1])
    mean = float(np.mean(list(by_slice.values())))
    if lowest < LOW_SLICE or mean < LOW_MEAN:
        text = (
            f"{label} is uncertain: {lowest:.2f} on slice {axis} = {index}, {mean:.2f} on average"
        )
        yield CaseWarning("low confidence", text, 2.0)


def _touched_sides(label_map: LabelMap) -> dict[int, list[str]]:
    """Value to the sides of the image that it touches, in the patient's directions."""
    found: dict[int, list[str]] = {}
    for axis, (ras, sign) in enumerate(patient_axes(label_map.affine)):
        if label_map.voxels.shape[axis] == 1:
            continue
        for end, towards in ((0, -sign), (-1, sign)):
            face = np.take(label_map.voxels, end, axis=axis)
            for value in np.unique(face[face > 0]).tolist():
                found.setdefault(value, []).append(SIDES[ras][towards > 0])
    return found
