"""SAM's training conversation: a prompt, an answer, a click where it was wrong, and so on.

Source: Kirillov et al. 2023, appendix A. Round 1 is a jittered box or one click; each further round
adds a click drawn from the error and hands the last logits back as a mask prompt. A lone click is
ambiguous, so the best of three masks is trained; everything else trains the single mask.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from cobot.sam.decoder import (
    BOX_FIRST,
    BOX_LAST,
    NOT_A_POINT,
    POSITIVE,
    DecodedMasks,
    DecoderInput,
    PromptTokens,
    decode,
    embed_masks,
    embed_prompts,
    grid_positions,
)
from cobot.sam.prompt_map import carried_over, draw_prompts, has_box
from cobot.training.clicks import jittered_box, loose_box

LOOSE_BOXES = 0.15

FOCAL_WEIGHT = 20.0
"""Focal to Dice 20:1, as SAM."""


@dataclass(frozen=True, slots=True)
class RoundLoss:
    """What is minimised in each round.

    Attributes:
        of_masks: logits (n m h w) and target (n 1 h w) to a loss for each mask (n m).
        score_weight: of the squared error of the predicted IoU.
    """

    of_masks: Callable[[Tensor, Tensor], Tensor]
    score_weight: float = 1.0


def focal_dice(
    logits: Float[Tensor, "n m h w"], target: Float[Tensor, "n #m h w"]
) -> Float[Tensor, "n m"]:
    """SAM's own: focal and Dice, 20 to 1."""
    target = target.expand_as(logits)
    focal = sigmoid_focal_loss(logits, target, alpha=-1, gamma=2).mean((-2, -1))
    probability = logits.sigmoid()
    overlap = (probability * target).sum((-2, -1))
    dice = 1 - (2 * overlap + 1) / (probability.sum((-2, -1)) + target.sum((-2, -1)) + 1)
    return FOCAL_WEIGHT * focal + dice


SAM_LOSS = RoundLoss(focal_dice)


@dataclass(frozen=True, slots=True)
class Conversation:
    """How an annotator and the model talk about an object.

    Attributes:
        rounds: how many answers.
        draws_prompts: the first prompt is also drawn as a mask prompt (`cobot.sam.prompt_map`).
        minimised: the loss of a round.
    """

    rounds: int
    draws_prompts: bool = False
    minimised: RoundLoss = SAM_LOSS


def first_prompts(
    masks: Bool[np.ndarray, "n side side2"], box_probability: float, rng: np.random.Generator
) -> PromptTokens:
    """A box or one click for each mask.

    Boxes are jittered by up to 10 % of their side; now and then one is loose, as where a box drawn
    around a whole organ is used on each of its slices.
    """
    xy, kind = [], []
    for mask in masks:
        if rng.random() < box_probability:
            loose = rng.random() < LOOSE_BOXES
            box = loose_box(mask, rng) if loose else jittered_box(mask, rng.uniform(0, 0.1), rng)
            xy.append(box.reshape(2, 2))
            kind.append((BOX_FIRST, BOX_LAST))
        else:
            xy.append(np.stack([interior_pixel(mask, rng), np.zeros(2)]))
            kind.append((POSITIVE, NOT_A_POINT))
    return PromptTokens(torch.from_numpy(np.stack(xy)).float(), torch.tensor(kind))


def conversation_loss(
    sam: Sam,
    embeddings: Float[Tensor, "n c h w"],
    masks: Bool[Tensor, "n side side2"],
    prompts: PromptTokens,
    held: Conversation,
) -> tuple[Float[Tensor, ""], Float[Tensor, " round"]]:
    """Loss of all rounds, a mean over objects, and the mean IoU of the answer of each round.

    Args:
        sam: the model; gradients flow to whatever of it requires them.
        embeddings: image embedding of each object's picture.
        masks: truth on the frame.
        prompts: first prompts.
        held: how many answers are trained, and how.
    """
    side, grid = masks.shape[-1], embeddings.shape[-1]
    positions = grid_positions(sam.prompt_encoder, grid)
    target = F.adaptive_avg_pool2d(masks.float()[:, None], 4 * grid)[:, 0]
    shown: list[Tensor | None] = [None] * len(masks)
    carried: Tensor | None = None
    if held.draws_prompts:
        drawn = draw_prompts(prompts, side, 4 * grid)
        shown, carried = list(drawn), carried_over(drawn, has_box(prompts))
    losses: list[Tensor] = []
    ious: list[Tensor] = []
    for index in range(held.rounds):
        given = DecoderInput(
            features=embeddings,
            positions=positions,
            sparse=embed_prompts(sam.prompt_encoder, prompts, side),
            dense=embed_masks(sam.prompt_encoder, shown, grid),
        )
        answer = decode(sam.mask_decoder, given)
        if carried is not None:
            answer = replace(answer, logits=answer.logits + carried[:, None])
        ambiguous = (prompts.kind == NOT_A_POINT).any(1) & (index == 0)
        loss, logits, iou = _round_loss(answer, target, ambiguous, held.minimised)
        losses, ious = [*losses, loss], [*ious, iou]
        shown = list(logits.detach())
        if held.draws_prompts:
            carried = carried_over(logits.detach(), torch.ones_like(ambiguous))
        prompts = with_click(prompts, *_error_clicks(logits.detach(), target, side))
    return torch.stack(losses).mean(), torch.stack(ious)


def with_click(
    prompts: PromptTokens, xy_px: Float[Tensor, "n 2"], positive: Bool[Tensor, " n"]
) -> PromptTokens:
    """Add one click to each object."""
    return PromptTokens(
        torch.cat([prompts.xy, xy_px[:, None]], 1),
        torch.cat([prompts.kind, positive.long()[:, None]], 1),
    )


def _round_loss(
    answer: DecodedMasks,
    target: Float[Tensor, "n h w"],
    ambiguous: Bool[Tensor, " n"],
    minimised: RoundLoss,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of the trained mask, the logits an annotator would be shown, and their mean IoU."""
    answers, scores = answer.logits.float(), answer.predicted_iou.float()
    loss = minimised.of_masks(answers, target[:, None])
    true_iou = _iou(answers, target[:, None])
    best_of_three = 1 + loss[:, 1:].argmin(1)
    trained = torch.where(ambiguous, best_of_three, 0)
    shown = torch.where(ambiguous, 1 + scores[:, 1:].argmax(1), 0)
    row = torch.arange(len(answers))
    offered = torch.where(
        ambiguous[:, None], scores.new_tensor([[0.0, 1, 1, 1]]), scores.new_tensor([[1.0, 0, 0, 0]])
    )
    # Each object's mean over the masks it is offered: a micro-batch weighs by its objects alone.
    error = ((scores - true_iou.detach()).square() * offered).sum(1) / offered.sum(1)
    return (
        loss[row, trained].mean() + minimised.score_weight * error.mean(),
        answers[row, shown],
        true_iou[row, shown].mean().detach(),
    )


def _iou(logits: Float[Tensor, "n m h w"], target: Float[Tensor, "n #m h w"]) -> Tensor:
    answer, truth = logits > 0, target > 0.5
    both = (answer & truth).sum((-2, -1))
    return both / (answer | truth).sum((-2, -1)).clamp(min=1)


def _error_clicks(
    logits: Float[Tensor, "n h w"], target: Float[Tensor, "n h w"], side_px: int
) -> tuple[Float[Tensor, "n 2"], Bool[Tensor, " n"]]:
    """A random pixel of each error, in frame coordinates, and whether it is on the object."""
    truth = target > 0.5
    wrong = (truth != (logits > 0)).flatten(1).float()
    weight = torch.where(wrong.any(1, keepdim=True), wrong, target.flatten(1) + 1e-6)
    pick = torch.multinomial(weight, 1)[:, 0]
    width = logits.shape[-1]
    cell_px = side_px / width
    xy = (torch.stack([pick % width, pick // width], 1) + 0.5) * cell_px - 0.5
    return xy, truth.flatten(1)[torch.arange(len(pick)), pick]


def interior_pixel(mask: Bool[np.ndarray, "side side2"], rng: np.random.Generator) -> np.ndarray:
    """A random pixel, half of the time away from the edge where the object allows it."""
    inner = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    rows, cols = np.nonzero(inner)
    if rows.size == 0 or rng.random() < 0.5:
        rows, cols = np.nonzero(mask)
    else:
        rows, cols = rows + 1, cols + 1
    pick = rng.integers(len(rows))
    return np.array([cols[pick], rows[pick]], np.float64)
