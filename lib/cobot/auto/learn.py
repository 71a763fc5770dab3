"""Label prompts are learnt on embeddings of a frozen encoder, through a frozen decoder."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from segment_anything.modeling import Sam
from torch import Tensor

from cobot.auto.bank import CELLS, EmbeddedSlices
from cobot.auto.prompter import LabelGuess, LabelPrompter
from cobot.auto.recipe import AutoRecipe
from cobot.auto.settings import PrompterShape
from cobot.errors import ConfigError
from cobot.sam.decoder import DecoderInput, decode, embed_masks, grid_positions
from cobot.training.loss import dice_ce

ABSENT_SHARE = 4
"""One in so many questions to the decoder asks for a label that is not on the slice."""

FIRST_NOISE = 0.1
"""Of the tokens, around "not a point": the decoder then begins by trusting what it is shown."""

UNTAUGHT = ("tokens", "carried")
"""What a head that learnt with the adapter brings unlearnt."""

LAST_RATE = 0.02
"""Of the learning rate, at the end."""


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Slices of one update, on the device.

    Attributes:
        features: embeddings.
        target: share of each place that is the label, at four times the embedding's side.
        present: whether the label is on the slice.
        known: whether that is known.
    """

    features: Float[Tensor, "b c g g"]
    target: Float[Tensor, "b labels h w"]
    present: Bool[Tensor, "b labels"]
    known: Bool[Tensor, "b labels"]


def learn_prompts(
    slices: EmbeddedSlices,
    sam: Sam,
    recipe: AutoRecipe,
    seed: int,
    report: Callable[[int, int, float], None] = lambda step, steps, loss: None,
    head: Mapping[str, Tensor] | None = None,
) -> LabelPrompter:
    """Learn the prompts of all labels; nothing of the model changes.

    Args:
        slices: to learn from.
        sam: the adapted model; its prompt encoder and decoder are used as they are.
        recipe: how.
        seed: of the start and of the order.
        report: told the step, of how many, and the loss.
        head: where labels lie, as it was learnt with the adapter; else it begins anew.

    Raises:
        ConfigError: the loss is not a number.
    """
    generator = torch.Generator().manual_seed(seed)
    device = sam.prompt_encoder.no_mask_embed.weight.device
    shape = PrompterShape(slices.features.shape[1], recipe.tokens, recipe.hidden)
    prompter = LabelPrompter(shape, slices.known.shape[1], generator)
    if head is not None:
        # Tokens and shares had no decoder to learn from.
        learnt = {name: value for name, value in head.items() if name not in UNTAUGHT}
        prompter.load_state_dict(learnt, strict=False)
    with torch.no_grad():
        start = sam.prompt_encoder.not_a_point_embed.weight.detach().cpu()
        prompter.tokens.mul_(FIRST_NOISE).add_(start)
    prompter.to(device).train()
    optimiser = torch.optim.AdamW(
        prompter.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, recipe.steps, eta_min=LAST_RATE * recipe.learning_rate
    )
    positions = grid_positions(sam.prompt_encoder, slices.features.shape[-1]).detach()
    order = _order(slices, recipe, seed)
    for step in range(recipe.steps):
        batch = _batch(slices, next(order), device)
        guess = prompter(batch.features)
        loss = guess_loss(guess, batch.target, batch.present, batch.known)
        if step >= recipe.guess_steps:
            rng = np.random.default_rng([seed, step])
            loss = loss + _decoder_loss(prompter, guess, batch, (sam, positions), recipe, rng)
        if not torch.isfinite(loss):
            raise ConfigError(
                f"--auto: the loss is {float(loss)} at step {step}; lower the learning rate by "
                f"--set learning_rate={recipe.learning_rate / 4:g}."
            )
        optimiser.zero_grad()
        # The model's own weights may ask for gradients; they are to get none.
        loss.backward(inputs=list(prompter.parameters()))
        torch.nn.utils.clip_grad_norm_(prompter.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        report(step + 1, recipe.steps, float(loss.detach()))
    return prompter.eval().requires_grad_(False)


def label_shares(
    labels: Int64[Tensor, "b cells cells"], count: int
) -> Float[Tensor, "b labels h w"]:
    """How much of each place is which label, at four times the embedding's side.

    Args:
        labels: 1 + the label's place in the order of values, in `CELLS` cells a place; 0 is none.
        count: of labels.
    """
    ranks = torch.arange(1, count + 1, device=labels.device)[None, :, None, None]
    return F.avg_pool2d((labels[:, None] == ranks).float(), CELLS // 4)


def guess_loss(
    guess: LabelGuess,
    target: Float[Tensor, "b labels h w"],
    present: Bool[Tensor, "b labels"],
    known: Bool[Tensor, "b labels"],
) -> Float[Tensor, ""]:
    """Where the labels are, and whether; what is not known of a slice costs nothing."""
    if not known.any():
        return 0 * guess.presence.sum()
    there = F.binary_cross_entropy_with_logits(guess.presence, present.float(), reduction="none")
    loss = there[known].mean()
    absent = known & ~present
    entropy = F.binary_cross_entropy_with_logits(guess.shown, target, reduction="none")
    if absent.any():
        loss = loss + entropy.mean((2, 3))[absent].mean()
    seen = known & present
    if seen.any():
        loss = loss + dice_ce(guess.shown[seen][:, None], target[seen][:, None]).mean()
    return loss


def _decoder_loss(
    prompter: LabelPrompter,
    guess: LabelGuess,
    batch: _Batch,
    model: tuple[Sam, Float[Tensor, "1 c g g"]],
    recipe: AutoRecipe,
    rng: np.random.Generator,
) -> Float[Tensor, ""]:
    """What the decoder makes of some labels of the batch."""
    sam, positions = model
    picture, rows = _questions(batch, recipe.questions, rng)
    shown = guess.shown[picture, rows]
    features = batch.features[picture]
    decoded = decode(
        sam.mask_decoder,
        DecoderInput(
            features=features,
            positions=positions,
            sparse=prompter.tokens[rows],
            dense=embed_masks(sam.prompt_encoder, list(shown), features.shape[-1]),
        ),
    )
    logits = prompter.mixed(decoded.logits[:, 0], shown, rows)
    target, present = batch.target[picture, rows], batch.present[picture, rows]
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((1, 2))
    both = dice_ce(logits[:, None], target[:, None])[:, 0]
    return torch.where(present, both, entropy).mean()


def _questions(batch: _Batch, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Pictures and labels to ask the decoder about: mostly labels that are there."""
    seen = torch.nonzero(batch.known & batch.present).cpu().numpy()
    absent = torch.nonzero(batch.known & ~batch.present).cpu().numpy()
    few = min(len(absent), max(count // ABSENT_SHARE, count - len(seen)))
    many = min(len(seen), count - few)
    chosen = np.concatenate(
        [
            seen[rng.permutation(len(seen))[:many]],
            absent[rng.permutation(len(absent))[:few]],
        ]
    )
    pairs = torch.from_numpy(chosen).to(batch.features.device)
    return pairs[:, 0], pairs[:, 1]


def _order(slices: EmbeddedSlices, recipe: AutoRecipe, seed: int) -> Iterator[np.ndarray]:
    """Batches of every slice once, then again in another order, for ever."""
    epoch = 0
    left = np.empty(0, np.int64)
    while True:
        while len(left) < recipe.batch_size:
            fresh = np.random.default_rng([seed, epoch]).permutation(len(slices))
            left, epoch = np.concatenate([left, fresh]), epoch + 1
        yield left[: recipe.batch_size]
        left = left[recipe.batch_size :]


def _batch(slices: EmbeddedSlices, indices: np.ndarray, device: torch.device) -> _Batch:
    features = torch.from_numpy(slices.features[indices]).to(device, torch.float32)
    labels = torch.from_numpy(slices.labels[indices].astype(np.int64)).to(device)
    count = slices.known.shape[1]
    target = label_shares(labels, count)
    known = torch.from_numpy(slices.known[indices]).to(device)
    return _Batch(features, target, target.amax((2, 3)) > 0, known)
