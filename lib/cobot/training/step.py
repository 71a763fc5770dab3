"""The gradients of one batch, whatever the memory: micro-batches, over all processes."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor

from cobot.errors import ConfigError
from cobot.sam.decoder import PromptTokens
from cobot.training.embedders import Embedder
from cobot.training.interactive_rounds import Conversation, RoundLoss, conversation_loss
from cobot.training.items import TrainingItem
from cobot.training.loss import dice_ce
from cobot.training.processes import any_process, mean_gradients
from cobot.training.recipe import Recipe
from cobot.training.trainee import Trainee

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step tells.

    Attributes:
        loss: mean over the batch, of this process.
        iou: of the last round's answers.
        micro_batch: slices at once, after what memory allowed.
    """

    loss: float
    iou: float
    micro_batch: int


class Stepper:
    """Owns nothing but references; `take` changes the trainee's gradients, not its weights."""

    def __init__(
        self,
        fabric: Fabric,
        trainee: Trainee,
        recipe: Recipe,
        embedder: Embedder,
    ) -> None:
        self._fabric = fabric
        self._trainee = trainee
        self._held = Conversation(
            recipe.rounds,
            trainee.base.shape.draws_prompts,
            RoundLoss(dice_ce, recipe.score_weight),
        )
        self._embedder = embedder

    def take(self, items: Sequence[TrainingItem], micro_batch: int, seed: int) -> StepResult:
        """Compute the gradients of a batch, summed over micro-batches and meaned over processes.

        When the GPU's memory runs out the micro-batch is halved, and the batch begun again.

        Args:
            items: this process's part of the batch.
            micro_batch: slices to compute at once.
            seed: of what is random in the computation: dropout, corrective clicks.

        Raises:
            ConfigError: the loss is not a number (case and slice are named), or even one slice
                does not fit into the memory.
        """
        while True:
            loss, iou, fits = self._gradients(items, micro_batch, seed)
            self._require_finite(loss, items, seed)
            if fits:
                # Adapters are small, so one exchange at the end costs little.
                mean_gradients(self._fabric, self._trainee.parameters)
                return StepResult(loss, iou, micro_batch)
            micro_batch = _halved(micro_batch)

    def _gradients(
        self, items: Sequence[TrainingItem], micro_batch: int, seed: int
    ) -> tuple[float, float, bool]:
        """Loss and IoU of the batch; whether it fitted into every process's memory."""
        self._clear()
        losses, ious, fits = [], [], True
        try:
            for start in range(0, len(items), micro_batch):
                part = items[start : start + micro_batch]
                torch.manual_seed(int(np.random.default_rng([seed, start]).integers(2**31)))
                loss, iou = self._loss(part)
                # Of the masks that are asked for: as in the loss of the whole batch.
                share = _asked(part) / _asked(items)
                losses.append(float(loss.detach()) * share)
                ious.append(iou * share)
                if not np.isfinite(losses[-1]):
                    break
                (loss * share).backward()
        except torch.OutOfMemoryError:
            fits = False
        return float(sum(losses)), float(sum(ious)), not any_process(self._fabric, not fits)

    def _loss(self, items: Sequence[TrainingItem]) -> tuple[Float[Tensor, ""], float]:
        device = self._fabric.device
        masks = torch.cat([item.masks for item in items]).to(device)
        counts = torch.tensor([len(item.masks) for item in items])
        picture = torch.repeat_interleave(torch.arange(len(items)), counts).to(device)
        prompts = PromptTokens(
            torch.cat([item.prompts.xy for item in items]).to(device),
            torch.cat([item.prompts.kind for item in items]).to(device),
        )
        with self._fabric.autocast():
            features = self._embedder.of(items)
            loss, ious = conversation_loss(
                self._trainee.sam, features[picture], masks, prompts, self._held
            )
        beside = self._trainee.beside
        if beside is not None:
            loss = loss + beside.weight * beside.loss(items, features.float())
        return loss, float(ious[-1])

    def _clear(self) -> None:
        for parameter in self._trainee.parameters:
            parameter.grad = None

    def _require_finite(self, loss: float, items: Sequence[TrainingItem], seed: int) -> None:
        if not any_process(self._fabric, not np.isfinite(loss)):
            return
        if np.isfinite(loss):
            raise ConfigError("Training was stopped: another process met a loss that is no number.")
        raise ConfigError(
            f"The loss is {loss} on {self._blame(items, seed)}. Look at this image and label for "
            "damaged values, or lower the learning rate; the last checkpoint is untouched."
        )

    @torch.no_grad()
    def _blame(self, items: Sequence[TrainingItem], seed: int) -> str:
        """The slices that alone have a loss that is no number; all of them if none does."""
        guilty = []
        for item in items:
            torch.manual_seed(seed)
            if not torch.isfinite(self._loss([item])[0]):
                guilty.append(item.labelled.where)
        return "; ".join(guilty or [item.labelled.where for item in items])


def _asked(items: Sequence[TrainingItem]) -> int:
    return sum(len(item.masks) for item in items)


def _halved(micro_batch: int) -> int:
    """The next micro-batch to try, said aloud."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if micro_batch == 1:
        raise ConfigError(
            "The GPU's memory does not hold one slice. Use --checkpointing, a smaller --side or "
            "--base, or end other programs on this GPU."
        )
    half = micro_batch // 2
    logger.warning(
        "GPU out of memory with %d slices at once: going on with %d; the batch stays as large.",
        micro_batch,
        half,
    )
    return half
