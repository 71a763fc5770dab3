"""The only reader of what Slicer sends with Train: its Options become settings of a training.

Slicer shows `offered` as a table and sends every row back: a list as the text chosen from it, a
checkbox as 1 or 0, the rest in the type it was offered in.
"""

from collections.abc import Mapping
from dataclasses import fields

from cobot.adapters.config import METHOD_NAMES, AdapterConfig
from cobot.errors import ConfigError
from cobot.training.recipe import RECIPES, Recipe
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

DEFAULT_METHOD = "adaptformer+cobot"
SAVE_EVERY = 20
"""Steps between checkpoints: what is lost when a training is stopped."""

MONAI_KEYS = frozenset({"model", "gpus", "local_rank", "client_id", "description", "bundle_path"})
"""What MONAI Label adds for itself."""


class TrainingOptions(BaseModel):
    """What was chosen.

    Attributes:
        method: one of `METHOD_NAMES` that trains something.
        recipe: default or paper.
        max_epochs: passes over the slices; 0 is the recipe's own number.
        width: V, the adapter's hidden size; 0 is the method's own.
        continue_active: go on with the active version instead of starting from the base.
        val_split: fraction of the studies held back to measure on.
        device: auto, cpu or cuda.
        seed: of everything random.
        cache_gib: of decoded slices on disk.
        side_px: of the encoder's input; None is the base's own.
        auto: then learn label prompts, with which the version segments without a click.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    method: str = DEFAULT_METHOD
    recipe: str = "default"
    max_epochs: int = Field(default=0, ge=0)
    width: int = Field(default=0, ge=0)
    continue_active: bool = False
    val_split: float = Field(default=0.2, gt=0, lt=1)
    device: str = "auto"
    seed: int = Field(default=0, ge=0)
    cache_gib: float = Field(default=20, gt=0, allow_inf_nan=False)
    side_px: int | None = None
    auto: bool = False

    @field_validator("*", mode="before")
    @classmethod
    def _first_choice(cls, value: object) -> object:
        return value[0] if isinstance(value, list) and value else value

    @property
    def adapter(self) -> AdapterConfig:
        """Method, width, and whatever other settings of an adapter were sent.

        Raises:
            ConfigError: a value does not fit.
        """
        names = {field.name for field in fields(AdapterConfig)}
        changes = {name: value for name, value in self._more.items() if name in names}
        if self.width:
            changes["width"] = self.width
        return AdapterConfig.named(self.method, **changes)

    @property
    def training_recipe(self) -> Recipe:
        """Recipe, epochs, and whatever other settings of a recipe were sent.

        Raises:
            ConfigError: a setting is unknown, or a value does not fit.
        """
        names = {field.name for field in fields(AdapterConfig)}
        changes = {name: value for name, value in self._more.items() if name not in names}
        if self.max_epochs:
            changes["epochs"] = self.max_epochs
        return Recipe.named(self.recipe, {"save_every": SAVE_EVERY, **changes})

    @property
    def _more(self) -> Mapping[str, object]:
        return self.model_extra or {}


def offered(device: str) -> dict[str, object]:
    """The table of Options; of a list the first is the default.

    Args:
        device: the server's own.
    """
    plain = TrainingOptions()
    methods = [name for name in METHOD_NAMES if name not in (DEFAULT_METHOD, "freeze")]
    place = device.partition(":")[0] or "auto"
    return {
        "method": [DEFAULT_METHOD, *methods],
        "recipe": ["default", *(name for name in RECIPES if name != "default")],
        "max_epochs": RECIPES["default"].epochs,
        "width": plain.width,
        "continue_active": plain.continue_active,
        "auto": plain.auto,
        "val_split": plain.val_split,
        "device": [place, *(name for name in ("auto", "cpu", "cuda") if name != place)],
        "seed": plain.seed,
        "cache_gib": plain.cache_gib,
    }


def read_options(request: Mapping[str, object]) -> TrainingOptions:
    """Check a request; settings of recipe or adapter that Slicer does not show may be in it.

    Raises:
        ConfigError: names the option, its value and what was expected.
    """
    values = {key: value for key, value in request.items() if key not in MONAI_KEYS}
    try:
        options = TrainingOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        raise ConfigError(
            f"Option {name} {values.get(name)!r} cannot be used: {first['msg']}."
        ) from None
    if options.method == "freeze":
        raise ConfigError("Method 'freeze' trains nothing; choose another method in Options.")
    if options.device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"Option device {options.device!r} is none of auto, cpu, cuda.")
    _ = options.adapter, options.training_recipe
    return options
