"""What a method is measured by: 3D Dice from boxes as the paper draws them, and from one box."""

import zlib
from collections.abc import Mapping

import numpy as np

from cobot.prompts import Prompts, tight_box
from cobot.propagate import Seeds, propagate
from cobot.propagate_slices import Question
from cobot.sam.frame import SamFrame
from cobot.sam.segmenter import SliceSegmenter
from cobot.shapes import BoxXyxy, Mask
from cobot.slicing import cut_slice
from cobot.training.baseline import ellipse_in_box
from cobot.training.evaluate_propagation import (
    FollowedStructure,
    VolumeCase,
    followed_structures,
)
from cobot.training.training_prompts import widened_box

MEASURES = ("box", "box_jitter", "propagated", "ellipse", "ellipse_jitter")


def method_dice(
    case: VolumeCase, segmenter: SliceSegmenter, jitter_seed: int
) -> dict[str, dict[str, float]]:
    """Structure to measure to 3D Dice.

    Args:
        case: a labelled volume.
        segmenter: what is measured.
        jitter_seed: of the boxes; with equal seeds every method is given the same boxes.

    Returns:
        For each structure: `box`, tight boxes on every slice that holds it; `box_jitter`, each
        side moved outwards by 0 to 50 px at 1024 px as the paper does; `ellipse` and
        `ellipse_jitter`, the ellipse in those boxes; `propagated`, one tight box on the middle
        slice.
    """
    return {
        one.name: _measures(one, segmenter, jitter_seed)
        for one in followed_structures(case, segmenter)
    }


def _measures(
    one: FollowedStructure, segmenter: SliceSegmenter, jitter_seed: int
) -> dict[str, float]:
    found: dict[str, dict[int, Mask]] = {name: {} for name in MEASURES}
    for index, mask in one.truth.items():
        tight = tight_box(mask)
        wide = paper_box(tight, _frame(one, segmenter, index, tight), _rng(one, index, jitter_seed))
        shape = (mask.shape[0], mask.shape[1])
        for name, ellipse, box in (
            ("box", "ellipse", tight),
            ("box_jitter", "ellipse_jitter", wide),
        ):
            (answer,) = one.slices.answer(index, [Question(Prompts(box_xyxy=box))])
            found[name][index] = answer.mask
            found[ellipse][index] = ellipse_in_box(box, shape)
    found["propagated"] = propagate(one.slices, Seeds({one.middle: one.box})).masks
    return {name: one.score(masks) for name, masks in found.items()}


def paper_box(box: BoxXyxy, frame: SamFrame, rng: np.random.Generator) -> BoxXyxy:
    """The paper's jitter on a slice: in the frame each side moves outwards by 0 to 50/1024 of it.

    Args:
        box: first and last pixel on the slice.
        frame: how the slice lies in the model's input.
        rng: source of randomness.
    """
    framed = np.clip(frame.box(box), 0, frame.side_px - 1)
    wide = widened_box(framed, frame.side_px, rng).reshape(2, 2)
    first, last = frame.points_to_pixels(wide + [[-0.5], [0.5]])
    rows, cols = frame.shape
    moved = np.concatenate([first + 0.5, last - 0.5])
    # Never inside the box it came from: where the frame ends, so does the jitter.
    outwards = np.concatenate([np.minimum(moved[:2], box[:2]), np.maximum(moved[2:], box[2:])])
    return np.clip(outwards, 0, np.array([cols - 1, rows - 1] * 2, np.float64))


def case_mean(structures: Mapping[str, Mapping[str, float]], measure: str) -> float:
    """A case's Dice: the mean over the structures it has."""
    return float(np.mean([measures[measure] for measures in structures.values()]))


def _frame(one: FollowedStructure, segmenter: SliceSegmenter, index: int, box: BoxXyxy) -> SamFrame:
    slices = one.slices
    slice_ = cut_slice(slices.volume, slices.plane, index)
    return segmenter.view(slice_, slices.window, [Prompts(box_xyxy=box)]).frame


def _rng(one: FollowedStructure, index: int, jitter_seed: int) -> np.random.Generator:
    """Of one box: whichever others are drawn, and in whichever order, it stays the same."""
    name = zlib.crc32(f"{one.slices.name}/{one.name}".encode())
    return np.random.default_rng([jitter_seed, name, index])
