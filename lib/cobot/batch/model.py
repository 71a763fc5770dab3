"""The model of a run, loaded once in each process."""

from dataclasses import dataclass

import cobot
from cobot.adapters.checkpoint import TENSORS_NAME, AdapterFile
from cobot.adapters.choice import open_adapter
from cobot.adapters.store import AdapterStore
from cobot.auto.files import FILE_NAME as LABEL_PROMPTS_NAME
from cobot.auto.files import LabelPrompts, read_auto_settings, read_label_prompts
from cobot.auto.settings import AutoSettings
from cobot.batch.automatic import AutoStream
from cobot.batch.record import Provenance
from cobot.batch.segmenting import CaseSegmenter, CaseStream
from cobot.batch.settings import CaseSettings, ModelChoice
from cobot.checksum import file_sha256
from cobot.errors import ConfigError
from cobot.intensity import IntensityWindow
from cobot.sam.adapted import swap_adapter
from cobot.sam.device import choose_device
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import load_sam


@dataclass(frozen=True, slots=True)
class RunModel:
    """A segmenter and what is said of it.

    Attributes:
        choice: what was asked for.
        segmenter: base and adapter.
        adapter: the adapter's file; None for the base alone.
        prompts: the adapter's label prompts, where they are used.
    """

    choice: ModelChoice
    segmenter: SliceSegmenter
    adapter: AdapterFile | None
    prompts: LabelPrompts | None = None

    def stream(self, settings: CaseSettings) -> CaseSegmenter:
        """What segments the cases of a run."""
        if self.prompts is not None:
            return AutoStream(
                self.segmenter, self.prompts, settings.slices_at_once, settings.window
            )
        return CaseStream(self.segmenter, settings.slices_at_once)

    def settings_sha256(self, settings: CaseSettings) -> str:
        """The checksum of model and settings together."""
        segmenter = self.segmenter
        return settings.digest(segmenter.base_sha256, segmenter.adapter_hash, self.choice.precision)

    def provenance(
        self, settings: CaseSettings, prompts: str, window: IntensityWindow | None
    ) -> Provenance:
        """Where a mask of this run comes from."""
        return Provenance(
            cobot_version=cobot.__version__,
            model=self.choice.model,
            base_sha256=self.segmenter.base_sha256,
            adapter=None if self.adapter is None else self.adapter.config.name,
            adapter_sha256=self.segmenter.adapter_hash or None,
            window=settings.window,
            window_lower=None if window is None else float(window.lower),
            window_upper=None if window is None else float(window.upper),
            precision=self.segmenter.precision,
            seed=settings.seed,
            prompts=prompts,
            device=str(self.segmenter.device),
        )


def load_model(choice: ModelChoice) -> RunModel:
    """Load weights and adapter onto a device.

    Raises:
        ConfigError: no such encoder or device.
        WeightsError: the weights are missing or do not fit.
        AdapterError: there is no such adapter, or it is of another base.
    """
    device = choose_device(choice.device)
    options = SegmenterOptions(precision=choice.precision)
    base = SliceSegmenter(load_sam(choice.model, choice.weights), device, options)
    if choice.auto:
        require_label_prompts(choice)
    if choice.adapter is None:
        return RunModel(choice, base, None)
    file = open_adapter(choice.adapter)
    prompts = read_label_prompts(choice.adapter) if choice.auto else None
    return RunModel(choice, swap_adapter(base, file), file, prompts)


def settled_choice(choice: ModelChoice) -> ModelChoice:
    """The same with the version that is active in a store now, for all workers and to the end.

    Raises:
        AdapterError: the store is empty or has no active version.
    """
    place = choice.adapter
    if place is None or not place.is_dir() or (place / TENSORS_NAME).is_file():
        return choice
    store = AdapterStore(place)
    active = store.active()
    if active is None:
        open_adapter(place)  # Refuses, and says what to do.
        return choice
    return choice.model_copy(update={"adapter": store.show(active).folder})


def label_prompts_sha256(choice: ModelChoice) -> str:
    """Of the file of label prompts beside an adapter."""
    return "" if choice.adapter is None else file_sha256(choice.adapter / LABEL_PROMPTS_NAME)


def require_label_prompts(choice: ModelChoice) -> AutoSettings:
    """The settings of an adapter's label prompts.

    Raises:
        ConfigError: there are none.
        AdapterError: they are damaged.
    """
    found = None if choice.adapter is None else read_auto_settings(choice.adapter)
    if found is None:
        held = "none was named" if choice.adapter is None else f"nothing in {choice.adapter}"
        raise ConfigError(
            f"--auto: this adapter carries no label prompts ({held}). Train one with `cobot train "
            "--auto`, or give --prompts FILE, --prompts-from MASKS or --box."
        )
    return found
