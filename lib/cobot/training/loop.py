"""The training loop: epochs of steps, a measurement after each, a checkpoint every so often."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric

from cobot.errors import ConfigError
from cobot.training.curves import Curves
from cobot.training.item_feed import feed
from cobot.training.items import ItemMaker
from cobot.training.recipe import Recipe
from cobot.training.run_state import RunState, load_state, save_state
from cobot.training.schedule import rate_factor
from cobot.training.stats import TrainStats
from cobot.training.step import Stepper, StepResult
from cobot.training.trainee import Trainee, copies
from cobot.training.validate import ValidationScores

logger = logging.getLogger(__name__)

STATS_NAME = "train_stats.json"


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """What a progress line shows after a step or a measurement.

    Attributes:
        step: updates done.
        steps: updates of all epochs.
        epoch: epochs done and measured.
        epochs: at most.
        loss: of the last step; NaN before the first.
        best_dice: the best validation Dice yet; 0 before the first measurement.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    best_dice: float


@dataclass(frozen=True, slots=True, eq=False)
class TrainingParts:
    """What the loop works with.

    Attributes:
        fabric: processes and precision.
        trainee: what learns.
        items: what it learns from.
        recipe: how.
        stepper: computes gradients.
        measure: the present Dice on the validation cases.
        stop_early: whether the validation cases are unseen, so that they can end the training.
        folder: of the run.
        fingerprint: of settings and data.
        loaders: threads that prepare slices.
        micro_batch: slices at once; 0 takes a process's whole batch.
    """

    fabric: Fabric
    trainee: Trainee
    items: ItemMaker
    recipe: Recipe
    stepper: Stepper
    measure: Callable[[], ValidationScores]
    stop_early: bool
    folder: Path
    fingerprint: str
    loaders: int = 0
    micro_batch: int = 0


class Trainer:
    """Owns optimiser, step and history; `run` goes on from wherever the run's folder stands."""

    def __init__(self, parts: TrainingParts, report: Callable[[TrainingProgress], None]) -> None:
        self._parts = parts
        self._report = report
        self._optimiser = _optimiser(parts)
        self._share = _share_of_batch(parts)
        self._micro_batch = min(parts.micro_batch or self._share, self._share)
        self._step = 0
        self._history: tuple[ValidationScores, ...] = ()
        self._best = copies(parts.trainee.tensors())
        self._seconds_before = 0.0
        self._began = time.time()
        self._loss = float("nan")
        self._curves = Curves(parts.folder if parts.fabric.is_global_zero else None)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one pass; the last is filled up."""
        return -(-len(self._parts.items.dataset) // self._parts.recipe.batch_size)

    @property
    def steps(self) -> int:
        """Updates of all epochs."""
        return self.steps_per_epoch * self._parts.recipe.epochs

    def run(self) -> tuple[ValidationScores, ...]:
        """Train to the end, from the last checkpoint if there is one.

        Returns:
            The scores after each epoch. The trainee then holds the best epoch's weights, or the
            last one's if the validation cases were trained on.
        """
        self._resume()
        self._curves.begin(self._step)
        while not self._finished():
            epochs_done = self._step // self.steps_per_epoch
            if len(self._history) < epochs_done:
                self._measure()
            else:
                self._train_epoch(epochs_done)
        self._curves.close()
        self._write_stats(done=True)
        self._parts.trainee.load(self._best)
        return self._history

    def _train_epoch(self, epoch: int) -> None:
        parts, recipe = self._parts, self._parts.recipe
        order = parts.items.dataset.epoch_order(parts.items.seed, epoch, recipe.batch_size)
        rank, world = parts.fabric.global_rank, parts.fabric.world_size
        batches = [
            order[start : start + recipe.batch_size][rank::world]
            for start in range(0, len(order), recipe.batch_size)
        ]
        to_do = batches[self._step - epoch * self.steps_per_epoch :]
        for items in feed(parts.items, to_do, epoch, parts.loaders):
            seeds = np.random.default_rng([parts.items.seed, self._step, rank])
            result = parts.stepper.take(items, self._micro_batch, int(seeds.integers(2**31)))
            self._update(items[0].labelled.where)
            self._step += 1
            self._after_step(result)

    def _update(self, where: str) -> None:
        """One step of the optimiser on the gradients there are."""
        recipe, parameters = self._parts.recipe, self._parts.trainee.parameters
        limit = recipe.clip_norm or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        if not torch.isfinite(norm):
            raise ConfigError(
                f"The gradient is not finite at step {self._step}, in the batch with {where}; "
                "lower the learning rate. The last checkpoint is untouched."
            )
        factor = rate_factor(recipe, self._step, self.steps)
        for group in self._optimiser.param_groups:
            group["lr"] = group["top"] * factor
        self._optimiser.step()

    def _after_step(self, result: StepResult) -> None:
        self._micro_batch, self._loss = result.micro_batch, result.loss
        self._curves.draw(self._step, {"train/loss": result.loss, "train/iou": result.iou})
        if self._step % self._parts.recipe.save_every == 0:
            self._save()
        self._tell()

    def _measure(self) -> None:
        """Score the epoch, keep it if it is the best, and write it all down."""
        scores = self._parts.measure()
        best = max((one.mean for one in self._history), default=-1.0)
        self._history = (*self._history, scores)
        if scores.mean > best or not self._parts.stop_early:
            self._best = copies(self._parts.trainee.tensors())
        by_label = {f"validation/{name}": dice for name, dice in scores.by_label.items()}
        self._curves.draw(self._step, {"validation/dice": scores.mean, **by_label})
        self._save()
        self._tell()

    def _finished(self) -> bool:
        recipe, means = self._parts.recipe, [one.mean for one in self._history]
        if len(means) >= recipe.epochs:
            return True
        if not (means and recipe.patience and self._parts.stop_early):
            return False
        return len(means) - 1 - int(np.argmax(means)) >= recipe.patience

    def _tell(self) -> None:
        self._report(
            TrainingProgress(
                step=self._step,
                steps=self.steps,
                epoch=len(self._history),
                epochs=self._parts.recipe.epochs,
                loss=self._loss,
                best_dice=self._best_dice,
            )
        )

    @property
    def _best_dice(self) -> float:
        return max((one.mean for one in self._history), default=0.0)

    @property
    def _seconds(self) -> float:
        return self._seconds_before + time.time() - self._began

    def _write_stats(self, done: bool) -> None:
        if self._parts.fabric.is_global_zero:
            TrainStats(
                epoch=len(self._history),
                total_epochs=self._parts.recipe.epochs,
                start_ts=int(self._began),
                seconds=self._seconds,
                best_metric=self._best_dice,
                done=done,
            ).write(self._parts.folder / STATS_NAME)

    def _save(self) -> None:
        """Write a checkpoint; every process waits until it is on the disk."""
        if self._parts.fabric.is_global_zero:
            state = RunState(
                fingerprint=self._parts.fingerprint,
                step=self._step,
                micro_batch=self._micro_batch,
                seconds=self._seconds,
                history=self._history,
                tensors=copies(self._parts.trainee.tensors()),
                best=self._best,
                optimiser=self._optimiser.state_dict(),
            )
            save_state(state, self._parts.folder)
        self._write_stats(done=False)
        self._parts.fabric.barrier()

    def _resume(self) -> None:
        state = load_state(self._parts.folder, self._parts.fingerprint)
        if state is None:
            self._write_stats(done=False)
            return
        self._parts.trainee.load(state.tensors)
        self._optimiser.load_state_dict(dict(state.optimiser))
        self._step, self._micro_batch = state.step, state.micro_batch
        self._history, self._best = state.history, dict(state.best)
        self._seconds_before = state.seconds
        logger.info("Going on from step %d of %d.", self._step, self.steps)


def _optimiser(parts: TrainingParts) -> torch.optim.Optimizer:
    groups, decay = parts.trainee.groups(parts.recipe), parts.recipe.weight_decay
    if parts.recipe.optimiser == "adam":
        return torch.optim.Adam(groups, weight_decay=decay)
    return torch.optim.AdamW(groups, weight_decay=decay)


def _share_of_batch(parts: TrainingParts) -> int:
    """Slices of a batch for each process.

    Raises:
        ConfigError: they cannot be shared evenly.
    """
    batch, world = parts.recipe.batch_size, parts.fabric.world_size
    if batch % world:
        raise ConfigError(
            f"A batch of {batch} slices cannot be shared by {world} processes; "
            f"give --set batch_size={-(-batch // world) * world}."
        )
    return batch // world
