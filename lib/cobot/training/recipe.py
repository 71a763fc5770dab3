"""How to train: the paper's settings, and the product's."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

from cobot.errors import ConfigError
from cobot.training.recipe_changes import with_changes

Optimiser = Literal["adam", "adamw"]
Schedule = Literal["constant", "cosine"]
PromptStyle = Literal["box", "box+clicks"]


CPU_EPOCHS = 3
"""Of a dozen cases: minutes on two cores, where 20 would take hours (decision 8)."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training, beside data, adapter and seed.

    Attributes:
        name: of the recipe this began as.
        optimiser: Adam adds weight decay to the gradient (L2), AdamW takes it off the weights.
        learning_rate: of the adapter's own weights.
        orchestration_rate: of S, Λ and W.
        decoder_rate: of the mask decoder.
        weight_decay: see `optimiser`.
        schedule: of all rates: constant, or a linear warm-up and a half cosine to 2 %.
        warmup_steps: of the cosine; at most a tenth of all steps.
        batch_size: slices for each update, over all processes together.
        epochs: passes over the training slices, at most.
        patience: epochs without a better validation Dice before stopping; 0 never stops early.
        prompts: "box" is the paper's: the label's box with each side moved outwards by 0 to 50 px
            at 1024 px; "box+clicks" gives a box jittered both ways or a click.
        loose_boxes: of the boxes of "box+clicks", the share with sides up to half a box outside:
            what propagation asks where a structure gets smaller.
        rounds: answers for each prompt; from the second on a click says where the last was wrong.
        objects_per_slice: structures drawn from a slice in each epoch, at most.
        negative_ratio: slices without any structure, for each slice with one.
        score_weight: of the error of the predicted IoU in the loss.
        clip_norm: of the gradient; 0 leaves it as it is.
        save_every: steps between checkpoints.
    """

    name: str
    optimiser: Optimiser
    learning_rate: float
    orchestration_rate: float
    decoder_rate: float
    weight_decay: float
    schedule: Schedule = "constant"
    warmup_steps: int = 0
    batch_size: int = 1
    epochs: int = 25
    patience: int = 0
    prompts: PromptStyle = "box"
    loose_boxes: float = 0.0
    rounds: int = 1
    objects_per_slice: int = 1
    negative_ratio: float = 0.0
    score_weight: float = 0.0
    clip_norm: float = 0.0
    save_every: int = 50

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "rounds", "objects_per_slice", "save_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"Recipe: {name} {getattr(self, name)} must be at least 1.")
        for name in ("learning_rate", "orchestration_rate", "decoder_rate"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"Recipe: {name} {getattr(self, name)} must lie in (0, 1).")
        if not 0 <= self.loose_boxes <= 1:
            raise ConfigError(f"Recipe: loose_boxes {self.loose_boxes} must lie in [0, 1].")
        weights = ("weight_decay", "negative_ratio", "score_weight", "clip_norm")
        for name in (*weights, "patience", "warmup_steps"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"Recipe: {name} {getattr(self, name)} must be finite and not negative."
                )

    @classmethod
    def named(cls, name: str, changes: Mapping[str, object] | None = None) -> "Recipe":
        """A recipe of `RECIPES`, with some settings changed.

        Raises:
            ConfigError: the recipe or a setting is unknown, or a value is out of range.
        """
        if name not in RECIPES:
            raise ConfigError(f"Unknown recipe {name!r}; expected one of {', '.join(RECIPES)}.")
        return with_changes(RECIPES[name], changes or {}, "Recipe", _CHOICES)

    def on_cpu(self) -> "Recipe":
        """With no more than `CPU_EPOCHS`; the paper's stays as it is."""
        return self if self.name == "paper" else replace(self, epochs=min(self.epochs, CPU_EPOCHS))

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return asdict(self)


_CHOICES: Mapping[str, tuple[str, ...]] = {
    "optimiser": get_args(Optimiser),
    "schedule": get_args(Schedule),
    "prompts": get_args(PromptStyle),
}


RECIPES: Mapping[str, Recipe] = {
    "paper": Recipe(
        name="paper",
        optimiser="adam",
        learning_rate=1.25e-6,
        orchestration_rate=1.25e-4,
        decoder_rate=1.25e-6,
        weight_decay=5e-4,
    ),
    "default": Recipe(
        name="default",
        optimiser="adamw",
        learning_rate=1e-3,
        orchestration_rate=1e-3,
        decoder_rate=2e-4,
        weight_decay=1e-2,
        schedule="cosine",
        warmup_steps=50,
        batch_size=4,
        epochs=20,
        patience=6,
        prompts="box+clicks",
        loose_boxes=0.3,
        rounds=2,
        objects_per_slice=4,
        negative_ratio=0.1,
        score_weight=1.0,
        clip_norm=1.0,
    ),
}
"""paper: SAM-COBOT, section 5, "Implementation Details", and the authors' rate for what COBOT adds.
default: ours, decisions 8 and 12."""
