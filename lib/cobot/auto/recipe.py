"""How label prompts are learnt."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from cobot.errors import ConfigError
from cobot.training.recipe_changes import with_changes


@dataclass(frozen=True, slots=True)
class AutoRecipe:
    """Final. Everything that decides it, beside the data, the adapter and the seed.

    Attributes:
        tokens: of each label.
        hidden: channels of the head that finds labels on the embedding.
        slices: embedded at most, over all cases; of a case those with a label first.
        variants: pictures of each slice: as it is, and turned, stretched and recoloured ones.
        guess_steps: updates in which the labels learn where they lie, without the decoder.
        decoder_steps: updates in which their tokens learn through the frozen decoder as well.
        batch_size: slices for each update.
        questions: masks asked of the decoder in each update.
        learning_rate: at the start; a half cosine brings it to 2 %.
        weight_decay: AdamW's.
        together_weight: of finding labels, in the loss with which the adapter is trained; 0, which
            was measured to be better than 0.5 (decision 13), leaves that training as it is.
    """

    tokens: int = 3
    hidden: int = 64
    slices: int = 1200
    variants: int = 3
    guess_steps: int = 800
    decoder_steps: int = 300
    batch_size: int = 16
    questions: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    together_weight: float = 0.0

    def __post_init__(self) -> None:
        counts = ("tokens", "hidden", "slices", "variants", "batch_size", "questions")
        for name in counts:
            if getattr(self, name) < 1:
                raise ConfigError(f"--auto: {name} {getattr(self, name)} must be at least 1.")
        if min(self.guess_steps, self.decoder_steps) < 0 or self.steps < 1:
            raise ConfigError(
                f"--auto: {self.guess_steps} and {self.decoder_steps} steps; expected at least one."
            )
        if not 0 < self.learning_rate < 1:
            raise ConfigError(f"--auto: learning rate {self.learning_rate} must lie in (0, 1).")
        for name in ("weight_decay", "together_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"--auto: {name} {getattr(self, name)} must be finite and not negative."
                )

    @property
    def steps(self) -> int:
        """Updates in all."""
        return self.guess_steps + self.decoder_steps

    @classmethod
    def changed(cls, changes: Mapping[str, object]) -> "AutoRecipe":
        """The default with some settings changed.

        Raises:
            ConfigError: a setting is unknown or a value does not fit.
        """
        return with_changes(DEFAULT_RECIPE, changes, "--auto")

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return asdict(self)


DEFAULT_RECIPE = AutoRecipe()
