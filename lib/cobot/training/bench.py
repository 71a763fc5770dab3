"""Measures adapters and the base on the validation cases, each as it would answer a user."""

from dataclasses import dataclass, replace

from cobot.adapters.checkpoint import AdapterFile
from cobot.adapters.store import AdapterStore
from cobot.errors import AdapterError
from cobot.sam.adapted import adapted_segmenter
from cobot.sam.embeddings import EmbeddingService
from cobot.sam.segmenter import SliceSegmenter
from cobot.training.champion import BASE, Champion
from cobot.training.task import TrainingTask
from cobot.training.validate import ValidationScores, Validator


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What measuring needs.

    Attributes:
        store: where versions are.
        plain: the base, at the side that the challenger is trained at.
        validator: the cases.
        kept: embeddings by the base, for adapters that leave its encoder alone.
    """

    store: AdapterStore
    plain: SliceSegmenter
    validator: Validator
    kept: EmbeddingService

    def measure(self, file: AdapterFile) -> ValidationScores:
        """The scores of an adapter, folded, as at inference.

        Raises:
            AdapterError: it is of another base.
        """
        plain, adapted = self.plain, self._with(file)
        if file.config.has_branch or adapted.side_px != plain.side_px:
            return self.validator.measure(adapted)
        return self.validator.measure(adapted, plain, self.kept)

    def propagated(self, file: AdapterFile | None, task: TrainingTask) -> ValidationScores:
        """The scores from one box on each structure's middle slice; None measures the base."""
        return self.validator.measure_propagated(self._with(file), task)

    def champion_propagated(self, name: str, task: TrainingTask) -> ValidationScores | None:
        """The same of a version, or of `BASE`; None for one that does not fit or is damaged."""
        try:
            return self.propagated(None if name == BASE else self.store.read(name), task)
        except AdapterError:
            return None

    def champion(self, name: str) -> Champion:
        """The scores of a version, or of `BASE`.

        None for a version that is damaged or of another base.
        """
        if name == BASE:
            return Champion(BASE, self.validator.measure(self.plain))
        try:
            return Champion(name, self.measure(self.store.read(name)))
        except AdapterError as error:
            return Champion(name, None, f"it does not fit or is damaged: {error}")

    def _with(self, file: AdapterFile | None) -> SliceSegmenter:
        """The base with an adapter at the adapter's own side, where users meet it; or the base.

        A base is asked at the challenger's side: that is what was there before at that side.

        Raises:
            AdapterError: the adapter is of another base.
        """
        plain = self.plain
        if file is None:
            return plain
        own = replace(plain.options, side_px=None)
        return adapted_segmenter(plain.base, file, plain.device, own)
