"""How good a model is on whole cases: 3D Dice of each structure, a box on each of its slices."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric

from cobot.prompts import Prompts
from cobot.sam.embed_many import BatchPlan, SliceJob, embed_many
from cobot.sam.embeddings import EmbeddingService
from cobot.sam.segmenter import SliceSegmenter
from cobot.training.corrections import Correction
from cobot.training.evaluate_prompts import Overlap
from cobot.training.evaluate_propagation import propagated_dice, task_case
from cobot.training.processes import summed
from cobot.training.slice_dataset import LabelledSlice, SliceDataset
from cobot.training.task import TrainingTask

_ABSENT = -1.0


@dataclass(frozen=True, slots=True)
class ValidationScores:
    """What was measured.

    Attributes:
        dice: case to structure to 3D Dice; structures a case lacks are left out.
    """

    dice: Mapping[str, Mapping[str, float]]

    @property
    def mean(self) -> float:
        """Mean over cases of the mean over a case's structures; 0 without any."""
        means = [np.mean(list(labels.values())) for labels in self.dice.values() if labels]
        return float(np.mean(means)) if means else 0.0

    @property
    def by_label(self) -> dict[str, float]:
        """Structure to its mean over the cases that have it."""
        names = sorted({name for labels in self.dice.values() for name in labels})
        return {
            name: float(np.mean([one[name] for one in self.dice.values() if name in one]))
            for name in names
        }


@dataclass(frozen=True, slots=True)
class Validator:
    """Measures models on the same cases in the same way.

    Attributes:
        dataset: the cases.
        labels: value to name.
        fabric: cases are shared among its processes.
    """

    dataset: SliceDataset
    labels: Mapping[int, str]
    fabric: Fabric

    def measure(
        self,
        segmenter: SliceSegmenter,
        encoder: SliceSegmenter | None = None,
        kept: EmbeddingService | None = None,
    ) -> ValidationScores:
        """3D Dice of every structure of every case, from tight boxes on the slices that hold it.

        Args:
            segmenter: what is measured.
            encoder: embeds instead of it, if its encoder is the same; None is itself.
            kept: embeddings that need not be computed again.
        """

        def overlaps(one: Correction) -> dict[int, float]:
            found = self._case(one, segmenter, BatchPlan(cache=kept), encoder)
            return {value: overlap.dice for value, overlap in found.items()}

        return self._shared(overlaps)

    def measure_propagated(self, segmenter: SliceSegmenter, task: TrainingTask) -> ValidationScores:
        """3D Dice of every structure of every case, from one box on its middle slice."""
        values = {name: value for value, name in self.labels.items()}

        def followed(one: Correction) -> dict[int, float]:
            dice = propagated_dice(task_case(one, task), segmenter)
            return {values[name]: found for name, found in dice.items()}

        return self._shared(followed)

    def _shared(self, dice_of: Callable[[Correction], Mapping[int, float]]) -> ValidationScores:
        """Scores of all cases, shared among the processes; label value to Dice for each case."""
        corrections = self.dataset.corrections
        values = list(self.labels)
        table = torch.zeros(len(corrections), len(values), dtype=torch.float64)
        for row in range(self.fabric.global_rank, len(corrections), self.fabric.world_size):
            dice = dice_of(corrections[row])
            for column, value in enumerate(values):
                table[row, column] = dice.get(value, _ABSENT)
        table = summed(self.fabric, table).cpu()
        return ValidationScores(
            {
                one.case: {
                    self.labels[value]: float(found)
                    for value, found in zip(values, row, strict=True)
                    if found != _ABSENT
                }
                for one, row in zip(corrections, table, strict=True)
            }
        )

    def _case(
        self,
        correction: Correction,
        segmenter: SliceSegmenter,
        plan: BatchPlan,
        encoder: SliceSegmenter | None,
    ) -> dict[int, Overlap]:
        """Voxel counts of one case by label value."""
        overlaps: dict[int, Overlap] = {}
        shown: deque[LabelledSlice] = deque()
        for job, embedding in embed_many(encoder or segmenter, self._jobs(correction, shown), plan):
            labelled = shown.popleft()
            answers = segmenter.decode(embedding, job.prompts)
            for one, answer in zip(labelled.objects, answers, strict=False):
                overlaps.setdefault(one.value, Overlap()).add(answer.mask, one.mask)
        return overlaps

    def _jobs(self, correction: Correction, shown: deque[LabelledSlice]) -> Iterator[SliceJob]:
        """Slices with a structure, in order; each is also put into `shown`."""
        for sample in self.dataset.case_samples(correction):
            if sample.present:
                labelled = self.dataset.read(sample)
                shown.append(labelled)
                boxes = _boxes(labelled, len(sample.present))
                yield SliceJob(labelled.slice_, labelled.window, boxes, correction.case)


def _boxes(labelled: LabelledSlice, present: int) -> tuple[Prompts, ...]:
    """Tight boxes of the structures that are there, which come first."""
    return tuple(Prompts(box_xyxy=one.box_xyxy) for one in labelled.objects[:present])
