"""Simulated annotator: the boxes and clicks a person would give for a known mask.

The recipe is SAM's (Kirillov et al. 2023, appendix A, "Training algorithm"): a jittered box or one
click, then clicks drawn from where the last answer is wrong.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cobot.errors import PromptError
from cobot.prompts import tight_box
from cobot.propagate_rule import deepest_point
from cobot.shapes import BoxXyxy, Mask


@dataclass(frozen=True, slots=True)
class Click:
    """One click: pixel coordinates and whether it lies on the object."""

    x_px: float
    y_px: float
    positive: bool


def jittered_box(mask: Mask, jitter: float, rng: np.random.Generator) -> BoxXyxy:
    """The tight box with each side moved by a normal deviate, kept inside the picture.

    Args:
        mask: the object.
        jitter: standard deviation as a fraction of the box's side along that axis.
        rng: source of randomness.

    Returns:
        x0 y0 x1 y1, never inverted and never outside the picture.
    """
    return shaken_box(tight_box(mask), jitter, (mask.shape[0], mask.shape[1]), rng)


def loose_box(mask: Mask, rng: np.random.Generator) -> BoxXyxy:
    """The tight box with each side moved outwards by up to 40 % of its length, in the picture.

    Returns:
        x0 y0 x1 y1.
    """
    box = tight_box(mask)
    size_px = np.array([box[2] - box[0] + 1, box[3] - box[1] + 1] * 2)
    moved = box + rng.uniform(0, 0.4, 4) * size_px * [-1, -1, 1, 1]
    return np.clip(moved, 0, np.array([mask.shape[1] - 1, mask.shape[0] - 1] * 2, np.float64))


def shaken_box(
    box: BoxXyxy, jitter: float, shape: tuple[int, int], rng: np.random.Generator
) -> BoxXyxy:
    """A box with each side moved by a normal deviate, never inverted, inside rows and columns.

    Args:
        box: first and last pixel.
        jitter: standard deviation as a fraction of the box's side along that axis.
        shape: rows and columns of the picture.
        rng: source of randomness.
    """
    size_px = np.array([box[2] - box[0] + 1, box[3] - box[1] + 1] * 2)
    moved = box + rng.normal(0, 1, 4) * jitter * size_px
    ordered = np.concatenate([np.minimum(moved[:2], moved[2:]), np.maximum(moved[:2], moved[2:])])
    limit = np.array([shape[1] - 1, shape[0] - 1] * 2, np.float64)
    return np.clip(ordered, 0, limit)


def centre_click(mask: Mask, positive: bool = True) -> Click:
    """The pixel deepest inside the mask: where a careful person clicks.

    Raises:
        PromptError: the mask is empty.
    """
    if not mask.any():
        raise PromptError("An empty mask has no centre; skip slices without the structure.")
    ((x_px, y_px),) = deepest_point(mask).tolist()
    return Click(x_px, y_px, positive)


def corrective_click(truth: Mask, answer: Mask) -> Click | None:
    """The centre of the largest error: positive where the answer misses, negative where it spills.

    Returns:
        None when the answer is right everywhere.
    """
    regions, count = ndimage.label(truth != answer)
    if count == 0:
        return None
    largest = 1 + int(np.argmax(np.bincount(regions.ravel())[1:]))
    click = centre_click(regions == largest)
    return Click(click.x_px, click.y_px, bool(truth[int(click.y_px), int(click.x_px)]))
