"""Where a training stands, on disk: whole or not at all, and enough to go on bit for bit."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cobot.atomic import atomic_path
from cobot.errors import ConfigError
from cobot.training.validate import ValidationScores

CHECKPOINT_NAME = "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything that a resumed training needs beside its settings and data.

    Attributes:
        fingerprint: of settings and data.
        step: updates done.
        micro_batch: slices at once, after what memory allowed.
        seconds: spent training and measuring.
        history: scores after each epoch.
        tensors: what learns, as it is now.
        best: what learns, as it was after the best epoch.
        optimiser: its state.
    """

    fingerprint: str
    step: int
    micro_batch: int
    seconds: float
    history: tuple[ValidationScores, ...]
    tensors: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    optimiser: Mapping[str, Any]


def save_state(state: RunState, folder: Path) -> None:
    """Write a checkpoint in place of the one before; a crash leaves one of the two, whole."""
    content = {
        "fingerprint": state.fingerprint,
        "step": state.step,
        "micro_batch": state.micro_batch,
        "seconds": state.seconds,
        "history": [
            {case: dict(labels) for case, labels in scores.dice.items()} for scores in state.history
        ],
        "tensors": dict(state.tensors),
        "best": dict(state.best),
        "optimiser": dict(state.optimiser),
    }
    with atomic_path(folder / CHECKPOINT_NAME) as temporary:
        torch.save(content, temporary)


def load_state(folder: Path, fingerprint: str) -> RunState | None:
    """The last checkpoint of a run, or None before the first.

    Raises:
        ConfigError: the checkpoint is of other settings or data.
    """
    path = folder / CHECKPOINT_NAME
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(
            f"{path} is damaged ({type(error).__name__}); move it away, and the same command "
            "begins this run anew."
        ) from error
    if content["fingerprint"] != fingerprint:
        raise ConfigError(
            f"{path} was made with other settings or data; move it away, and this run begins anew."
        )
    history = tuple(ValidationScores(dice) for dice in content.pop("history"))
    return RunState(history=history, **content)
