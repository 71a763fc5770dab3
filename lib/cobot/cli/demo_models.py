"""The models that the demo shows: a base, or an adapted one beside its frozen base."""

from dataclasses import dataclass
from pathlib import Path

from cobot.adapters.checkpoint import AdapterFile
from cobot.adapters.choice import ACTIVE, open_adapter
from cobot.sam.adapted import swap_adapter
from cobot.sam.device import choose_device
from cobot.sam.encoder_plan import Precision
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import load_sam

ORIGINS = {
    "tiny": "tiny is this project's own small network, not Meta's SAM.",
    "meta": "Meta's SAM.",
    "file": "Weights from a file of the user.",
}


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What the user asks for.

    Attributes:
        name: tiny, vit_b, vit_l or vit_h.
        weights: file of base weights; None takes the model's own.
        adapter: an adapter's folder, or a version of the store; None takes the active one of the
            store, or shows the base alone if there is no store either.
        store: folder of adapter versions.
        device: auto, cpu, cuda or cuda:N.
        precision: of the encoder.
    """

    name: str
    weights: Path | None = None
    adapter: str | None = None
    store: Path | None = None
    device: str = "auto"
    precision: Precision = "auto"


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A model, and what readers must know of it."""

    name: str
    segmenter: SliceSegmenter
    origin: str

    @property
    def place(self) -> str:
        """Device and precision."""
        return f"{self.segmenter.device} in {self.segmenter.precision}"


@dataclass(frozen=True, slots=True)
class DemoModels:
    """What is compared.

    Attributes:
        shown: whose mask is written and drawn.
        base: its frozen base; None if that is what is shown.
    """

    shown: DemoModel
    base: DemoModel | None = None


def load_models(choice: ModelChoice) -> DemoModels:
    """Load weights onto a device, and the adapter if one is asked for.

    Raises:
        ConfigError: no such encoder or device.
        WeightsError: the weights are missing or do not fit.
        AdapterError: there is no such adapter, or it is of another base.
    """
    options = SegmenterOptions(precision=choice.precision)
    device = choose_device(choice.device)
    file = _adapter(choice)
    segmenter = SliceSegmenter(load_sam(choice.name, choice.weights), device, options)
    kind = "file" if choice.weights else "tiny" if choice.name == "tiny" else "meta"
    base = DemoModel(choice.name, segmenter, ORIGINS[kind])
    if file is None:
        return DemoModels(base)
    name = f"{choice.name} + {file.config.name}"
    origin = f"{base.origin} Adapted by {file.config.name}, trained on {_dataset(file)}."
    return DemoModels(DemoModel(name, swap_adapter(segmenter, file), origin), base)


def _adapter(choice: ModelChoice) -> AdapterFile | None:
    if choice.store is not None:
        return open_adapter(choice.store, choice.adapter or ACTIVE)
    return None if choice.adapter is None else open_adapter(Path(choice.adapter))


def _dataset(file: AdapterFile) -> str:
    return file.card.dataset or "data its card does not name"
