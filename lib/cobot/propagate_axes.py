"""One structure followed along all three axes of its volume, and the three answers as one.

Along its own axis the structure is followed from the annotator's prompts. What was found is cut
across the two others, boxes on some of those slices ask again, and each axis says of every voxel
how sure it is. Slices across coarse voxels show little, so this is for volumes whose voxels are
nearly cubes; `scripts/bench_propagation.py --fuse` tells whether it helps on yours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from cobot.planes import Plane, plane_across
from cobot.prompts import Prompts, tight_box
from cobot.propagate import DEFAULT_RULE, Propagation, Seeds, propagate
from cobot.propagate_rule import PropagationRule, connected_parts
from cobot.propagate_slices import AnsweringSlices
from cobot.volume import Volume

SURE = 6.0
"""The most that one axis may say of a voxel, for or against: two that agree outvote the third."""

BOXES_ACROSS = 3
"""Slices that ask on each further axis, at even shares of what was found."""


@dataclass(frozen=True, slots=True, eq=False)
class FusedPropagation:
    """A structure as three axes see it.

    Attributes:
        mask: voxels whose mean logit over the axes is above 0.
        along: voxel axis to what was found along it; axes that nothing was found to ask on are
            left out.
    """

    mask: Bool[np.ndarray, "i j k"]
    along: Mapping[int, Propagation]


def propagate_three_axes(
    cut: Callable[[Plane], AnsweringSlices],
    volume: Volume,
    plane: Plane,
    seeds: Seeds,
    rule: PropagationRule = DEFAULT_RULE,
    go_on: Callable[[], bool] = lambda: True,
) -> FusedPropagation:
    """Follow a structure along the prompted axis, then along the two others, and fuse.

    Args:
        cut: the volume's slices across an axis, with the model that answers.
        volume: the grid; one float32 a voxel is held.
        plane: how it was cut for the prompts.
        seeds: at least one prompted slice of that cut.
        rule: how masks are carried on, and when not.
        go_on: as for `propagate`.

    Raises:
        PromptError: nothing is asked for, or a prompt lies off its slice.
        GeometryError: a prompted slice does not exist.
    """
    along = {plane.axis: propagate(cut(plane), seeds, rule, go_on)}
    logits = voxel_logits(along[plane.axis], plane, volume.shape)
    found = logits > 0
    others = {0, 1, 2} - {plane.axis} if found.any() else set()
    for axis in others:
        across = plane_across(volume.affine, axis)
        along[axis] = propagate(cut(across), crossing_boxes(found, across), rule, go_on)
        logits += voxel_logits(along[axis], across, volume.shape)
    return FusedPropagation(logits > 0, along)


def voxel_logits(
    found: Propagation, plane: Plane, shape: tuple[int, int, int]
) -> Float32[np.ndarray, "i j k"]:
    """What one axis says of every voxel, within ±`SURE`; surely not where it found nothing."""
    voxels = np.full(shape, -SURE, np.float32)
    for index, one in found.slices.items():
        plane.picture(voxels, index)[...] = np.clip(one.logits, -SURE, SURE)
    return voxels


def crossing_boxes(mask: Bool[np.ndarray, "i j k"], plane: Plane) -> Seeds:
    """Tight boxes on slices of another cut through what was found.

    On each chosen slice the largest connected part is boxed. Slices are chosen so that equal shares
    of the voxels lie between them.

    Args:
        mask: at least one voxel.
        plane: of the other cut.
    """
    others = tuple({0, 1, 2} - {plane.axis})
    share = np.cumsum(mask.sum(axis=others)) / mask.sum()
    wanted = (np.arange(BOXES_ACROSS) + 0.5) / BOXES_ACROSS
    indices = sorted({int(one) for one in np.searchsorted(share, wanted)})
    boxes = {}
    for index in indices:
        largest = max(connected_parts(plane.picture(mask, index)), key=np.count_nonzero)
        boxes[index] = Prompts(box_xyxy=tight_box(largest))
    return Seeds(boxes)
