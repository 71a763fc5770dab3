"""`--conf` pairs, which are all strings, checked once and turned into values."""

from collections.abc import Mapping
from pathlib import Path

from cobot.adapters.choice import ACTIVE
from cobot.datasets.catalogue import PUBLIC, dataset
from cobot.datasets.description import Dataset
from cobot.errors import ConfigError
from cobot.sam.encoder_plan import Precision
from cobot.sam.segmenter import SegmenterOptions
from cobot.server.following import NO_ADAPTER, default_store
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

AUTOMATIC = {
    "segment_spleen": "spleen",
    "segment_abdomen": "abdomen",
    "segment_head_neck": "head_neck",
}
"""Tasks that need no click, and the data set whose labels the adapter in use must have learnt."""

MODELS = (*AUTOMATIC, "sam_2d", "sam_3d", "sam_multi")
"""Every task this app can offer, by the name Slicer shows."""

LABELS = (
    "spleen",
    "liver",
    "right kidney",
    "left kidney",
    "gallbladder",
    "pancreas",
    "stomach",
    "aorta",
)
"""The structures Slicer makes segments for unless the person who starts the server names others."""


class Choices(BaseModel):
    """What the server was started with.

    Attributes:
        model: the encoder: tiny, vit_b, vit_l or vit_h.
        weights: file of base weights; None takes the encoder's own.
        device: auto, cpu, cuda or cuda:N.
        precision: of the encoder: auto, fp32 or bf16.
        compiled: compile the encoder at the first click; it can pay on a GPU.
        window: the intensity window offered first: auto, a preset or `lower,upper`.
        labels: the structures Slicer makes segments for.
        models: the tasks offered.
        store: folder of adapter versions; None is one among the studies, see `default_store`.
        adapter: which version answers: active (whichever is, at the moment), one by its name, or
            none.
        trainers: data sets to learn: names of public ones and TOML files of one's own; empty or
            none offers no training.
        scoring: score the studies in the background, so that Next Sample can tell them apart.
        embeddings_gb: the most the user's cache folder may hold of embeddings, which tell little
            less than the images they come from; 0 keeps none beyond the process.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)

    model: str = "tiny"
    weights: Path | None = None
    device: str = "auto"
    precision: Precision = "auto"
    compiled: bool = False
    window: str = "auto"
    labels: tuple[str, ...] = LABELS
    models: tuple[str, ...] = MODELS
    store: Path | None = None
    adapter: str = Field(default=ACTIVE, pattern=rf"^({ACTIVE}|{NO_ADAPTER}|v\d{{4,}})$")
    trainers: tuple[Dataset, ...] = Field(default=tuple(PUBLIC), validate_default=True)
    scoring: bool = True
    embeddings_gb: float = Field(default=8, ge=0, allow_inf_nan=False)

    def store_of(self, studies: Path) -> Path:
        """The folder of adapter versions for a folder of studies."""
        return self.store or default_store(studies, self.model)

    @property
    def segmenter_options(self) -> SegmenterOptions:
        """How the model is to be computed."""
        return SegmenterOptions(precision=self.precision, compiled=self.compiled)

    @field_validator("labels", "models", mode="before")
    @classmethod
    def _split(cls, text: object) -> object:
        if not isinstance(text, str):
            return text
        return tuple(name.strip() for name in text.split(",") if name.strip())

    @field_validator("models")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        names = MODELS if names == ("all",) else names
        unknown = set(names) - set(MODELS)
        if unknown or not names:
            raise ValueError(f"expected some of {', '.join(MODELS)}, or all")
        return names

    @field_validator("trainers", mode="before")
    @classmethod
    def _described(cls, names: object) -> tuple[Dataset, ...]:
        listed = cls._split(names)
        assert isinstance(listed, tuple)
        found = tuple(dataset(name) for name in listed if listed != (NO_ADAPTER,))
        titles = [one.name for one in found]
        if len(set(titles)) != len(titles):
            raise ValueError(f"expected each data set once, got {', '.join(titles)}")
        return found

    @field_validator("labels")
    @classmethod
    def _some(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError("expected at least one name, such as spleen,liver")
        return names


def read_choices(conf: Mapping[str, str]) -> Choices:
    """Check the `--conf` pairs; keys this app does not know are left to MONAI Label.

    Raises:
        ConfigError: names the pair and what was expected.
    """
    try:
        return Choices.model_validate(dict(conf))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        raise ConfigError(
            f"--conf {name} {conf.get(name)!r} cannot be used: "
            f"{first['msg'].removeprefix('Value error, ')}."
        ) from None
