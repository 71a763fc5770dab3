"""`--auto`: the labels that an adapter knows ask for themselves, case by case."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from cobot.auto.files import LabelPrompts
from cobot.auto.segment import AutoPlan, AutoSegmentation, segment_auto
from cobot.auto.settings import AutoSettings
from cobot.batch.asking import AskedSlices
from cobot.batch.inputs import InputCase
from cobot.batch.label_choice import LabelChoice
from cobot.batch.reading import UNREADABLE, FailedCase, PreparedCase, describe_error
from cobot.batch.segmenting import CaseOutcome, SegmentedCase
from cobot.batch.settings import Axis
from cobot.planes import Plane
from cobot.sam.segmenter import SliceSegmenter
from cobot.shapes import Affine
from cobot.volume import LabelMap, Volume


@dataclass(frozen=True, slots=True)
class AutoPrompts:
    """Nothing is asked of any case: the adapter's label prompts do.

    Attributes:
        settings: of the label prompts.
        sha256: of their file.
        choice: labels wanted.
    """

    settings: AutoSettings
    sha256: str
    choice: LabelChoice = LabelChoice()

    def describe(self) -> str:
        """That there were none."""
        return f"auto, {self.settings.task.name}"

    def digest(self, case: InputCase) -> str:
        """Of the label prompts, for every case the same."""
        return f"{self.sha256}|{self.choice}"

    def plane(self, affine: Affine, axis: Axis) -> Plane:
        """As the labels were learnt."""
        return self.settings.task.plane(affine)

    def ask(self, case: InputCase, volume: Volume, plane: Plane) -> AskedSlices:
        """The labels to look for, on no slice in particular."""
        return AskedSlices({}, self.choice.among(self.settings.task.labels))


@final
class AutoStream:
    """Cases by an adapter's label prompts, one after the other."""

    def __init__(
        self, segmenter: SliceSegmenter, prompts: LabelPrompts, slices_at_once: int, window: str
    ) -> None:
        """Use a model; window "auto" shows each label in the one it was learnt in."""
        self._segmenter = segmenter
        self._prompts = prompts
        self._plan = AutoPlan(slices_at_once=slices_at_once)
        self._as_learnt = window == "auto"

    def segment(self, cases: Iterable[PreparedCase | FailedCase]) -> Iterator[CaseOutcome]:
        """Each case's outcome; failed ones are handed through."""
        for case in cases:
            yield case if isinstance(case, FailedCase) else self._one(case)

    def _one(self, case: PreparedCase) -> CaseOutcome:
        started = time.perf_counter()
        window = None if self._as_learnt else case.window
        plan = replace(self._plan, name=case.case.name)
        try:
            found = segment_auto(case.volume, self._segmenter, self._prompts, window, plan)
        except UNREADABLE as error:
            return FailedCase(case.case, describe_error(error, case.case), case.fingerprint)
        return SegmentedCase(
            case,
            wanted_labels(found.label_map, case.asked.labels),
            _by_label(found, case.asked.labels),
            time.perf_counter() - started,
        )


def wanted_labels(found: LabelMap, labels: Mapping[int, str]) -> LabelMap:
    """A map with the wanted labels alone, at their wanted values."""
    values = {name: value for value, name in labels.items()}
    lookup = np.zeros(max(found.labels, default=0) + 1, np.uint16)
    for value, name in found.labels.items():
        lookup[value] = values.get(name, 0)
    return LabelMap(lookup[found.voxels], found.affine, dict(labels))


def _by_label(found: AutoSegmentation, labels: Mapping[int, str]) -> dict[str, dict[int, float]]:
    by_label: dict[str, dict[int, float]] = {}
    for (label, index), number in sorted(found.confidence.items()):
        if label in labels.values():
            by_label.setdefault(label, {})[index] = number
    return by_label
