"""How much of a structure is found from one box on its middle slice, in 3D."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from cobot.intensity import IntensityWindow
from cobot.io import read_volume
from cobot.planes import Plane
from cobot.prompts import Prompts, tight_box
from cobot.propagate import DEFAULT_RULE, Seeds, propagate
from cobot.propagate_axes import propagate_three_axes
from cobot.propagate_rule import PropagationRule
from cobot.propagate_slices import Question, VolumeSlices
from cobot.sam.embeddings import EmbeddingService
from cobot.sam.segmenter import SliceSegmenter
from cobot.shapes import LabelVoxels, Mask
from cobot.training.baseline import ellipse_in_box
from cobot.training.corrections import Correction
from cobot.training.evaluate_prompts import Overlap
from cobot.training.label_values import read_task_labels
from cobot.training.task import TrainingTask
from cobot.volume import Volume

EMBEDDINGS_BYTES = 2**30
"""One volume's slices are kept while its structures are followed."""


@dataclass(frozen=True, slots=True, eq=False)
class VolumeCase:
    """A labelled volume, and how it is cut and shown.

    Attributes:
        name: of the case.
        volume: the image.
        truth: label values on its grid.
        labels: value to name.
        windows: name to black and white.
        plane: how it is cut.
    """

    name: str
    volume: Volume
    truth: LabelVoxels
    labels: Mapping[int, str]
    windows: Mapping[str, IntensityWindow]
    plane: Plane


@dataclass(frozen=True, slots=True, eq=False)
class FollowedStructure:
    """One structure of a case, with its truth slice by slice.

    Attributes:
        name: of the structure.
        slices: the volume, shown in the structure's window, and the model.
        truth: slice index to its pixels there; slices without it are left out.
    """

    name: str
    slices: VolumeSlices
    truth: Mapping[int, Mask]

    @property
    def middle(self) -> int:
        """The middle one of the slices that hold it: where the box is drawn."""
        indices = sorted(self.truth)
        return indices[len(indices) // 2]

    @property
    def box(self) -> Prompts:
        """The tight box there."""
        return Prompts(box_xyxy=tight_box(self.truth[self.middle]))

    def score(self, masks: Mapping[int, Mask]) -> float:
        """3D Dice of masks by slice; what is found outside the structure's slices counts too."""
        overlap = Overlap()
        nothing = np.zeros_like(self.truth[self.middle])
        for index in sorted({*masks, *self.truth}):
            overlap.add(masks.get(index, nothing), self.truth.get(index, nothing))
        return overlap.dice


def followed_structures(case: VolumeCase, segmenter: SliceSegmenter) -> Iterator[FollowedStructure]:
    """The structures that a case has, in the order of their values."""
    kept = EmbeddingService(EMBEDDINGS_BYTES)
    count = case.volume.shape[case.plane.axis]
    for value, name in sorted(case.labels.items()):
        pictures = ((i, case.plane.picture(case.truth, i) == value) for i in range(count))
        truth = {index: mask for index, mask in pictures if mask.any()}
        if truth:
            window = case.windows[name]
            slices = VolumeSlices(case.volume, case.plane, window, segmenter, kept, case.name)
            yield FollowedStructure(name, slices, truth)


def propagated_dice(
    case: VolumeCase, segmenter: SliceSegmenter, rule: PropagationRule = DEFAULT_RULE
) -> dict[str, float]:
    """Structure to 3D Dice, from one tight box on its middle slice."""
    return {
        one.name: one.score(propagate(one.slices, Seeds({one.middle: one.box}), rule).masks)
        for one in followed_structures(case, segmenter)
    }


def fused_dice(
    case: VolumeCase, segmenter: SliceSegmenter, rule: PropagationRule = DEFAULT_RULE
) -> dict[str, float]:
    """Structure to 3D Dice, from the same box, three axes fused."""
    return {one.name: one.score(_fused(one, rule)) for one in followed_structures(case, segmenter)}


def _fused(one: FollowedStructure, rule: PropagationRule) -> dict[int, Mask]:
    """Slice index to the structure there, as three axes see it."""
    slices, seeds = one.slices, Seeds({one.middle: one.box})
    found = propagate_three_axes(
        lambda plane: replace(slices, plane=plane), slices.volume, slices.plane, seeds, rule
    )
    return {index: slices.plane.picture(found.mask, index) for index in range(slices.count)}


def compared_dice(
    case: VolumeCase, segmenter: SliceSegmenter, rule: PropagationRule = DEFAULT_RULE
) -> dict[str, dict[str, float]]:
    """Structure to 3D Dice of propagation and of what it is to be compared with.

    Returns:
        For each structure: `propagated`; `true_ends`, walks without limits, cut where the
        structure ends; `copied`, the middle slice's box asked on every slice that holds the
        structure; `oracle`, each slice's own tight box; `ellipse`, the ellipse in those boxes.
    """
    return {one.name: _compared(one, rule) for one in followed_structures(case, segmenter)}


def _compared(one: FollowedStructure, rule: PropagationRule) -> dict[str, float]:
    oracle: dict[int, Mask] = {}
    copied: dict[int, Mask] = {}
    ellipse: dict[int, Mask] = {}
    for index, mask in one.truth.items():
        box = tight_box(mask)
        # One at a time: what a slice is cropped to must not depend on the other box.
        (own,) = one.slices.answer(index, [Question(Prompts(box_xyxy=box))])
        (same,) = one.slices.answer(index, [Question(one.box)])
        oracle[index], copied[index] = own.mask, same.mask
        ellipse[index] = ellipse_in_box(box, (mask.shape[0], mask.shape[1]))
    seeds = Seeds({one.middle: one.box})
    free = propagate(one.slices, seeds, without_limits(rule)).masks
    first, last = min(one.truth), max(one.truth)
    found = {
        "propagated": propagate(one.slices, seeds, rule).masks,
        "true_ends": {index: mask for index, mask in free.items() if first <= index <= last},
        "copied": copied,
        "oracle": oracle,
        "ellipse": ellipse,
    }
    return {name: one.score(masks) for name, masks in found.items()}


def without_limits(rule: PropagationRule) -> PropagationRule:
    """The same prompts, and no end but an empty mask and the edge of the volume."""
    return replace(
        rule,
        least_predicted_iou=0.0,
        least_likeness=0.0,
        least_overlap=0.0,
        largest_ratio=float("inf"),
        reach_mm=float("inf"),
    )


def task_case(correction: Correction, task: TrainingTask) -> VolumeCase:
    """A case as a task cuts and shows it.

    Raises:
        CobotError: a file cannot be read, or grids differ.
    """
    volume = read_volume(correction.image)
    windows = task.resolve_windows(volume)
    return VolumeCase(
        name=correction.case,
        volume=volume,
        truth=read_task_labels(
            correction.corrected, task.labels, volume, dict(correction.names) or None
        ),
        labels=task.labels,
        windows={
            task.labels[value]: windows[text]
            for text, values in task.window_groups().items()
            for value in values
        },
        plane=task.plane(volume.affine),
    )
