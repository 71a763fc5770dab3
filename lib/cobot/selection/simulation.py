"""Annotation played with labels that are known: each strategy asks for cases, a model learns them.

The encoder is frozen and the mask decoder learns (method `lightweight`), so every slice is embedded
once for all strategies, rounds and seeds. What was computed for one set of labelled cases and one
seed is kept as a file and shared by every strategy that comes to the same set.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from lightning_fabric import Fabric

from cobot.adapters.card import AdapterCard
from cobot.adapters.checkpoint import AdapterFile, read_adapter, write_adapter
from cobot.adapters.config import AdapterConfig
from cobot.atomic import atomic_path
from cobot.io import read_volume
from cobot.sam.adapted import swap_adapter
from cobot.sam.embeddings import EmbeddingService
from cobot.sam.segmenter import SliceSegmenter
from cobot.selection.asked_slice import AskedSlice
from cobot.selection.case_scores import CaseScores, ObjectScore
from cobot.selection.clicks_spent import prompts_for_case
from cobot.selection.diversity import volume_vector
from cobot.selection.score_case import ScoreSettings, pooled, score_slices, spread_indices
from cobot.slicing import cut_slice
from cobot.training.corrections import Correction
from cobot.training.embedders import FrozenEmbeddings
from cobot.training.items import ItemMaker
from cobot.training.loop import Trainer, TrainingParts
from cobot.training.recipe import Recipe
from cobot.training.slice_cache import SliceCache
from cobot.training.slice_dataset import SliceDataset
from cobot.training.step import Stepper
from cobot.training.task import TrainingTask
from cobot.training.trainee import build_trainee
from cobot.training.validate import ValidationScores, Validator

EMBEDDING_BYTES = 3 * 2**30
METHOD = AdapterConfig.named("lightweight")


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedData:
    """What the annotator could label, and what is measured on.

    Attributes:
        task: structures, windows, plane.
        pool: labelled volumes, whose labels are shown when they are chosen.
        validation: other volumes.
    """

    task: TrainingTask
    pool: Mapping[str, Correction]
    validation: Sequence[Correction]


@dataclass(frozen=True, slots=True)
class SimulatedTraining:
    """How the model learns what is labelled.

    Attributes:
        recipe: its epochs are chosen so that there are about as many steps, however many slices.
        steps: of the mask decoder, after every round anew from the base.
    """

    recipe: Recipe
    steps: int

    def epochs(self, samples: int) -> int:
        """Passes over so many samples."""
        each = -(-samples // self.recipe.batch_size)
        return max(1, round(self.steps / each))


@final
@dataclass(slots=True, eq=False)
class Simulation:
    """Trains, measures and scores for sets of labelled cases; nothing is computed twice.

    Attributes:
        data: cases.
        base: the base.
        fabric: of this process.
        training: how.
        folder: of the results: one JSON file for each question; adapters beside them.
        settings: how cases are scored.
    """

    data: SimulatedData
    base: SliceSegmenter
    fabric: Fabric
    training: SimulatedTraining
    folder: Path
    settings: ScoreSettings = field(default_factory=ScoreSettings)
    _kept: EmbeddingService = field(default_factory=lambda: EmbeddingService(EMBEDDING_BYTES))
    _shown: dict[str, list[AskedSlice]] = field(default_factory=dict)
    _cache: SliceCache | None = None

    def dice(self, labelled: Sequence[str], seed: int) -> Mapping[str, Mapping[str, float]]:
        """Validation case to structure to 3D Dice, tight boxes, having learnt some cases."""

        def measure() -> Mapping[str, Mapping[str, float]]:
            validator = Validator(
                self._dataset(self.data.validation), self.data.task.labels, self.fabric
            )
            return validator.measure(self._model(labelled, seed), self.base, self._kept).dice

        found: Mapping[str, Mapping[str, float]] = self._once("dice", labelled, seed, measure)
        return found

    def prompts(self, case: str, labelled: Sequence[str], seed: int) -> int:
        """Boxes and clicks that labelling a case takes with the model that learnt some others."""

        def count() -> int:
            dataset = self._dataset([self.data.pool[case]])
            return prompts_for_case(dataset, self._model(labelled, seed), self.base, self._kept)

        return int(self._once(f"prompts-{case}", labelled, seed, count))

    def scores(self, labelled: Sequence[str], seed: int) -> dict[str, CaseScores]:
        """Scores of every case that is not labelled, under the model that learnt those that are."""

        def compute() -> dict[str, Any]:
            model = self._model(labelled, seed)
            return {
                case: {label: asdict(one) for label, one in self._scored(case, model).items()}
                for case in sorted(set(self.data.pool) - set(labelled))
            }

        found = self._once("scores", labelled, seed, compute)
        return {
            case: CaseScores(
                {label: ObjectScore(**one) for label, one in objects.items()}, self.vector(case)
            )
            for case, objects in found.items()
        }

    def vector(self, case: str) -> np.ndarray:
        """How a case looks to the base's encoder, which never learns here."""
        return volume_vector([pooled(one.embedding) for one in self._slices(case)])

    def _scored(self, case: str, model: SliceSegmenter) -> Mapping[str, ObjectScore]:
        shown = [replace(one, segmenter=model) for one in self._slices(case)]
        return score_slices(shown, self.settings).objects

    def _slices(self, case: str) -> list[AskedSlice]:
        """Some slices of a case, embedded once."""
        if case not in self._shown:
            volume = read_volume(self.data.pool[case].image)
            plane = self.data.task.plane(volume.affine)
            window = next(iter(self.data.task.resolve_windows(volume).values()))
            indices = spread_indices(volume.shape[plane.axis], self.settings.slices)
            views = [self.base.view(cut_slice(volume, plane, one), window) for one in indices]
            self._shown[case] = [
                AskedSlice(self.base, view, self.base.encode([view])[0], index)
                for view, index in zip(views, indices, strict=True)
            ]
        return self._shown[case]

    def _dataset(self, corrections: Sequence[Correction]) -> SliceDataset:
        if self._cache is None:
            ratio = self.training.recipe.negative_ratio
            self._cache = SliceCache(self.folder / "slices", self.data.task, ratio)
        return SliceDataset(self._cache, list(corrections), self.data.task.window_groups())

    def _model(self, labelled: Sequence[str], seed: int) -> SliceSegmenter:
        """The base, or the base with what it learnt from some cases."""
        if not labelled:
            return self.base
        folder = self.folder / "adapters" / _name("adapter", labelled, seed)
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            write_adapter(folder, self._trained(labelled, seed, folder.name))
        return swap_adapter(self.base, read_adapter(folder))

    def _trained(self, labelled: Sequence[str], seed: int, name: str) -> AdapterFile:
        loaded = self.base.base
        trainee = build_trainee(loaded, METHOD, seed)
        dataset = self._dataset([self.data.pool[case] for case in sorted(labelled)])
        recipe = replace(
            self.training.recipe,
            epochs=self.training.epochs(len(dataset)),
            patience=0,
            save_every=10**9,
        )
        run = self.folder / "runs" / name
        run.mkdir(parents=True, exist_ok=True)
        parts = TrainingParts(
            fabric=self.fabric,
            trainee=trainee,
            items=ItemMaker(dataset, self.base, recipe, seed),
            recipe=recipe,
            stepper=Stepper(self.fabric, trainee, recipe, FrozenEmbeddings(self._kept, self.base)),
            measure=lambda: ValidationScores({}),
            stop_early=False,
            folder=run,
            fingerprint=name,
        )
        Trainer(parts, lambda now: None).run()
        shutil.rmtree(run, ignore_errors=True)
        return trainee.snapshot(AdapterCard(loaded.shape.name, loaded.sha256))

    def _once(
        self, what: str, labelled: Sequence[str], seed: int, compute: Callable[[], Any]
    ) -> Any:
        """The answer to a question, from its file if it was asked before."""
        path = self.folder / "cells" / f"{_name(what, labelled, seed)}.json"
        if not path.exists():
            content = {"labelled": sorted(labelled), "seed": seed, what: compute()}
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as partial:
                partial.write_text(json.dumps(content, default=dict), encoding="utf-8")
        return json.loads(path.read_text(encoding="utf-8"))[what]


def _name(what: str, labelled: Sequence[str], seed: int) -> str:
    """Readable, and the same in whichever order the cases were labelled."""
    cases = "+".join(sorted(one.removeprefix("image_") for one in labelled)) or "none"
    # The base alone has no seed.
    return f"{what}-s{seed if labelled else 0}-{cases}"
