"""What is asked of the model in training: the paper's box, or a box or a click."""

import numpy as np
import torch
from jaxtyping import Bool, Float64

from cobot.sam.decoder import BOX_FIRST, BOX_LAST, NOT_A_POINT, POSITIVE, PromptTokens
from cobot.shapes import BoxXyxy
from cobot.training.clicks import shaken_box
from cobot.training.interactive_rounds import interior_pixel
from cobot.training.recipe import PromptStyle

PAPER_JITTER_PX = 50
"""At an input of 1024 px; scaled with the side (SAM-COBOT, section 5)."""

BOX_PROBABILITY = 0.6
BOX_JITTER = 0.1
"""The most, as a fraction of the box's side: as in the pretraining of tiny."""

LOOSENESS = 0.5
"""The most by which a side of a loose box lies outside, as a fraction of the box's side."""


def draw_prompts(
    masks: Bool[np.ndarray, "n side side2"],
    boxes: Float64[np.ndarray, "n 4"],
    style: PromptStyle,
    rng: np.random.Generator,
    loose: float = 0.0,
) -> PromptTokens:
    """Two tokens for each object: a box, or a click and "not a point".

    Args:
        masks: on the frame; an empty one is only asked for by its box.
        boxes: on the frame, first and last pixel.
        style: see `Recipe.prompts`.
        rng: source of randomness.
        loose: see `Recipe.loose_boxes`.
    """
    xy, kind = [], []
    for mask, box in zip(masks, boxes, strict=True):
        side_px = len(mask)
        if style == "box":
            xy.append(widened_box(box, side_px, rng).reshape(2, 2))
        elif mask.any() and rng.random() >= BOX_PROBABILITY:
            xy.append(np.stack([interior_pixel(mask, rng), np.zeros(2)]))
            kind.append((POSITIVE, NOT_A_POINT))
            continue
        elif loose and rng.random() < loose:
            xy.append(loosened_box(box, side_px, rng).reshape(2, 2))
        else:
            jitter = float(rng.uniform(0, BOX_JITTER))
            xy.append(shaken_box(box, jitter, (side_px, side_px), rng).reshape(2, 2))
        kind.append((BOX_FIRST, BOX_LAST))
    return PromptTokens(torch.from_numpy(np.stack(xy)).float(), torch.tensor(kind))


def widened_box(box: BoxXyxy, side_px: int, rng: np.random.Generator) -> BoxXyxy:
    """The paper's: each side moved outwards by 0 to 50 px at 1024 px, inside the frame.

    Args:
        box: first and last pixel.
        side_px: of the frame; the jitter is scaled with it.
        rng: source of randomness.
    """
    moved = rng.uniform(0, PAPER_JITTER_PX * side_px / 1024, 4) * (-1, -1, 1, 1)
    return np.clip(box + moved, 0, side_px - 1)


def loosened_box(box: BoxXyxy, side_px: int, rng: np.random.Generator) -> BoxXyxy:
    """Each side moved outwards by up to half of the box, inside the frame.

    Args:
        box: first and last pixel.
        side_px: of the frame.
        rng: source of randomness.
    """
    size_px = np.array([box[2] - box[0] + 1, box[3] - box[1] + 1] * 2)
    moved = rng.uniform(0, LOOSENESS, 4) * size_px * (-1, -1, 1, 1)
    return np.clip(box + moved, 0, side_px - 1)
