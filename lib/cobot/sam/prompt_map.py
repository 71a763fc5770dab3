"""Prompts drawn as a mask prompt: for an encoder that was pretrained with them drawn.

SAM tells its decoder where a box lies by two tokens alone, and learns from a billion masks to read
them. A small network with little to learn from reads a drawing much sooner: the ellipse that fills
the box, or a spot at the clicks, in SAM's own mask prompt. And it answers with what it would
change: half of the ellipse, or of the earlier answer that it was shown, is added to its logits. Its
weights keep SAM's architecture; the addition has none.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cobot.sam.decoder import BOX_FIRST, BOX_LAST, POSITIVE, PromptTokens

PEAK_LOGIT = 6.0
SPOT_RADIUS = 1 / 16
"""Of a click's spot, as a fraction of the side: the logits are 0 there."""

CARRIED = 0.5
"""Of what was shown: enough that an ellipse need not be learnt, little enough to be overruled."""


def draw_prompts(tokens: PromptTokens, side_px: int, cells: int) -> Float[Tensor, "b cells cells"]:
    """Draw each prompt as mask logits: 6 in the middle, 0 on the outline, down to -6 outside.

    Args:
        tokens: a batch of prompts in frame pixels; a box hides the clicks that come with it.
        side_px: side of the frame.
        cells: side of the drawing, SAM's low resolution.
    """
    boxed = has_box(tokens)[:, None, None]
    falloff = torch.where(
        boxed, _box_radius(tokens, side_px, cells), _click_radius(tokens, side_px, cells)
    )
    return (PEAK_LOGIT * (1 - falloff)).clamp(-PEAK_LOGIT, PEAK_LOGIT)


def carried_over(
    shown: Float[Tensor, "b cells cells"], is_shape: Bool[Tensor, " b"]
) -> Float[Tensor, "b cells cells"]:
    """What of a mask prompt goes straight into the logits of its answer.

    Args:
        shown: the mask prompts, drawn or of an earlier answer.
        is_shape: whether it has the object's size: not so the spot of a click.
    """
    return CARRIED * shown.clamp(-PEAK_LOGIT, PEAK_LOGIT) * is_shape[:, None, None]


def has_box(tokens: PromptTokens) -> Bool[Tensor, " b"]:
    """Whether each prompt has a box, and so is drawn as an ellipse."""
    return (tokens.kind == BOX_FIRST).any(dim=1)


def _box_radius(tokens: PromptTokens, side_px: int, cells: int) -> Float[Tensor, "b cells cells"]:
    """Squared distance from the box's middle, 1 on the ellipse that touches its sides."""
    first, last = (_place(tokens, kind) for kind in (BOX_FIRST, BOX_LAST))
    middle, half = (first + last) / 2, (last - first) / 2 + 0.5
    offset = (_cell_centres(tokens, side_px, cells) - middle[:, None, None]) / half[:, None, None]
    return offset.square().sum(-1)


def _click_radius(tokens: PromptTokens, side_px: int, cells: int) -> Float[Tensor, "b cells cells"]:
    """Squared distance from the nearest positive click, 1 at the spot's radius."""
    offset = _cell_centres(tokens, side_px, cells)[:, :, :, None] - tokens.xy[:, None, None]
    squared = (offset / (SPOT_RADIUS * side_px)).square().sum(-1)
    is_positive = (tokens.kind == POSITIVE)[:, None, None]
    return torch.where(is_positive, squared, torch.inf).amin(-1)


def _place(tokens: PromptTokens, kind: int) -> Float[Tensor, "b 2"]:
    return (tokens.xy * (tokens.kind == kind)[..., None]).sum(1)


def _cell_centres(
    tokens: PromptTokens, side_px: int, cells: int
) -> Float[Tensor, "b cells cells 2"]:
    """X and y of each cell in frame pixels, once for each prompt."""
    axis = (torch.arange(cells, device=tokens.xy.device) + 0.5) * (side_px / cells) - 0.5
    rows, cols = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([cols, rows], -1).expand(len(tokens.xy), -1, -1, -1)
