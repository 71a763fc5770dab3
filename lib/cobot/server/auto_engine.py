"""Answers with all labels of a data set, without a prompt, where the adapter in use can do it."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from cobot.auto.files import LabelPrompts, read_auto_settings, read_label_prompts
from cobot.auto.segment import AutoPlan, AutoSegmentation, segment_auto
from cobot.auto.settings import AutoSettings
from cobot.errors import AdapterError
from cobot.server.engine import InUse, SliceEngine, Stopwatch
from cobot.server.following import AdapterSource
from cobot.server.study import Study
from cobot.volume import LabelMap

TRAINED = "as trained"
"""Of windows: each label in the one it was learnt in."""

CHANGE_S, LOOK_AGAIN_S = 120.0, 0.2
"""How long a request waits for an adapter that another one is putting into use."""


@dataclass(frozen=True, slots=True, eq=False)
class AutoAnswer:
    """What one request without a prompt brought.

    Attributes:
        found: the labels and what is known of them.
        label_map: those that were found, numbered without a gap, as Slicer wants it.
        axis: the voxel axis that slices are counted along.
        seconds: time spent, by step.
        adapter: the version that answered.
        precision: of the encoder: fp32 or bf16.
        trouble: why that is not the version it should be, in a sentence; empty if it is.
    """

    found: AutoSegmentation
    label_map: LabelMap
    axis: int
    seconds: Mapping[str, float]
    adapter: str
    precision: str
    trouble: str = ""


@final
class AutoEngine:
    """Segments the studies of a `SliceEngine` with the label prompts beside the adapter in use."""

    def __init__(self, slices: SliceEngine, adapters: AdapterSource) -> None:
        """Share a slice engine; nothing is read yet.

        Args:
            slices: whose studies, model and embeddings are used.
            adapters: says which version is wanted, and where it lies.
        """
        self.slices = slices
        self._adapters = adapters
        self._settings: tuple[str, AutoSettings | None] | None = None
        self._prompts: tuple[str, LabelPrompts] | None = None
        self._reading = threading.Lock()

    def offered(self, dataset: str) -> AutoSettings | None:
        """What the wanted version knows of a data set; None if it cannot segment it by itself.

        Fast enough for every list of models: a version's label prompts are looked at until there
        are some, and then never again.
        """
        try:
            version = self._adapters.wanted()
            if version is None:
                return None
            if self._settings is None or self._settings[0] != version or not self._settings[1]:
                self._settings = (version, read_auto_settings(self._adapters.folder(version)))
            settings = self._settings[1]
        except AdapterError:
            return None
        return settings if settings is not None and settings.task.name == dataset else None

    def segment(self, study: Study, dataset: str, window_text: str = TRAINED) -> AutoAnswer:
        """Segment every label of a data set.

        Args:
            study: the volume.
            dataset: the data set that the adapter must have learnt.
            window_text: shows all labels in one window; `TRAINED` in those they were learnt in.

        Raises:
            AdapterError: the adapter in use carries no label prompts for that data set.
            WindowError: a window is unknown or does not fit the volume.
            WeightsError: the model's weights are missing or damaged.
        """
        watch = Stopwatch()
        with watch.step("model"):
            in_use = self._settled()
            prompts = self._loaded(in_use, dataset)
        window = None if window_text == TRAINED else self.slices.window(study, window_text)
        plan = AutoPlan(embeddings=self.slices.embeddings, name=str(study.stamp))
        with self.slices.embeddings.requests_first():
            found = segment_auto(study.volume, in_use.segmenter, prompts, window, plan)
        return AutoAnswer(
            found=found,
            label_map=contiguous(found.label_map),
            axis=prompts.settings.task.plane(study.volume.affine).axis,
            seconds={**watch.seconds, **found.seconds},
            adapter=str(in_use.adapter),
            precision=in_use.segmenter.precision,
            trouble=in_use.trouble,
        )

    def _settled(self) -> InUse:
        """What answers, once another request has finished changing the adapter.

        A click may be answered by the version before; that one may not know the labels.
        """
        deadline = time.monotonic() + CHANGE_S
        in_use = self.slices.in_use()
        while not in_use.trouble and in_use.adapter != self._adapters.wanted():
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK_AGAIN_S)
            in_use = self.slices.in_use()
        return in_use

    def _loaded(self, in_use: InUse, dataset: str) -> LabelPrompts:
        """The label prompts of the version in use, read once.

        Raises:
            AdapterError: there are none, or they are for another data set.
        """
        cure = (
            f"train one with `cobot train --dataset {dataset} --auto` and activate it, or choose a "
            "model that asks for clicks."
        )
        version = in_use.adapter
        if version is None:
            why = in_use.trouble or "No adapter is in use, so nothing segments by itself."
            raise AdapterError(f"{why} Cure: {cure}")
        with self._reading:
            if self._prompts is None or self._prompts[0] != version:
                found = read_label_prompts(self._adapters.folder(version))
                if found is None:
                    raise AdapterError(f"Adapter {version} carries no label prompts: {cure}")
                self._prompts = (version, found)
            prompts = self._prompts[1]
        if prompts.settings.task.name != dataset:
            raise AdapterError(
                f"Adapter {version} segments {prompts.settings.task.name!r} by itself, not "
                f"{dataset!r}: {cure}"
            )
        return prompts


def contiguous(label_map: LabelMap) -> LabelMap:
    """The same labels with values 1 to n for those that have a voxel; Slicer counts them so."""
    held = np.unique(label_map.voxels)
    kept = [value for value in sorted(label_map.labels) if value in held]
    table = np.zeros(int(held.max()) + 1, label_map.voxels.dtype)
    table[kept] = np.arange(1, len(kept) + 1)
    labels = {rank: label_map.labels[value] for rank, value in enumerate(kept, start=1)}
    return LabelMap(table[label_map.voxels], label_map.affine, labels)
