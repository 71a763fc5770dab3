"""The model of a run, loaded once in each process."""

from dataclasses import dataclass

import cobot
from cobot.adapters.checkpoint import AdapterFile
from cobot.adapters.choice import open_adapter
from cobot.batch.record import Provenance
from cobot.batch.settings import CaseSettings, ModelChoice
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
    """

    choice: ModelChoice
    segmenter: SliceSegmenter
    adapter: AdapterFile | None

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
    file = None if choice.adapter is None else open_adapter(choice.adapter)
    options = SegmenterOptions(precision=choice.precision)
    base = SliceSegmenter(load_sam(choice.model, choice.weights), device, options)
    return RunModel(choice, base if file is None else swap_adapter(base, file), file)
