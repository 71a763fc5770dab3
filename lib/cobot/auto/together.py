"""Labels are learnt with the adapter: its encoder is told, step by step, where they lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt16
from torch import Tensor

from cobot.auto.bank import CELLS, framed_labels
from cobot.auto.learn import UNTAUGHT, guess_loss, label_shares
from cobot.auto.prompter import LabelPrompter
from cobot.auto.recipe import AutoRecipe
from cobot.auto.settings import PrompterShape
from cobot.sam.build import EncoderShape
from cobot.training.items import TrainingItem
from cobot.training.run_state import load_state
from cobot.training.side_task import SideTask
from cobot.training.task import TrainingTask
from cobot.training.trainee import BESIDE_PREFIX

HEAD = "prompter."


class FindingLabels(SideTask):
    """Where each label lies and whether it is there, by the head that label prompts have.

    Tokens and the share of the guess need the decoder, and are learnt on the finished adapter by
    `cobot.auto.learn`, which goes on from this head.
    """

    def __init__(self, prompter: LabelPrompter, values: Sequence[int], recipe: AutoRecipe) -> None:
        super().__init__()
        self.prompter = prompter
        for name in UNTAUGHT:
            prompter.get_parameter(name).requires_grad_(False)
        self.weight = recipe.together_weight
        self.learning_rate = recipe.learning_rate
        self._values = tuple(values)

    def loss(
        self, items: Sequence[TrainingItem], features: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, ""]:
        """Of the guesses on some slices; a label that a case does not have costs nothing there."""
        cells = CELLS * features.shape[-1]
        labels = np.stack([self._framed(item, cells) for item in items]).astype(np.int64)
        known = [[value in item.labelled.known for value in self._values] for item in items]
        target = label_shares(torch.from_numpy(labels).to(features.device), len(self._values))
        return guess_loss(
            self.prompter(features),
            target,
            target.amax((2, 3)) > 0,
            torch.tensor(known, device=features.device),
        )

    def _framed(self, item: TrainingItem, cells: int) -> UInt16[np.ndarray, "cells cells"]:
        ranks = np.zeros(item.labelled.slice_.pixels.shape, np.uint16)
        for one in item.labelled.objects:
            ranks[one.mask] = 1 + self._values.index(one.value)
        return framed_labels(ranks, item.view.frame, cells)


@dataclass(frozen=True, slots=True)
class LabelsTogether:
    """The `SideTaskPlan` of `cobot train --auto --auto-set together_weight=0.5`.

    Attributes:
        recipe: sizes, rate and weight.
    """

    recipe: AutoRecipe

    def identity(self) -> dict[str, object]:
        """What decides it."""
        wanted = ("together_weight", "hidden", "learning_rate")
        return {f"label_{name}": getattr(self.recipe, name) for name in wanted}

    def build(self, shape: EncoderShape, task: TrainingTask, seed: int) -> FindingLabels:
        """A fresh head for the labels of a task."""
        sizes = PrompterShape(shape.prompt_dim, self.recipe.tokens, self.recipe.hidden)
        generator = torch.Generator().manual_seed(seed)
        prompter = LabelPrompter(sizes, len(task.labels), generator)
        return FindingLabels(prompter, sorted(task.labels), self.recipe)


def together_or_none(recipe: AutoRecipe | None) -> LabelsTogether | None:
    """The plan, where labels are to be learnt with the adapter."""
    return LabelsTogether(recipe) if recipe is not None and recipe.together_weight else None


def learnt_head(run: Path, labels: int, hidden: int) -> Mapping[str, Tensor] | None:
    """The head as it was when the run's adapter was; None if the run had none of these sizes.

    Args:
        run: folder of a finished training.
        labels: how many.
        hidden: channels, as `AutoRecipe.hidden`.
    """
    state = load_state(run, run.name)
    prefix = BESIDE_PREFIX + HEAD
    best = {} if state is None else state.best
    found = {
        name.removeprefix(prefix): value for name, value in best.items() if name.startswith(prefix)
    }
    return found if found and found["presence"].shape == (labels, hidden) else None
