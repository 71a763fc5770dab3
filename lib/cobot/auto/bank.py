"""Embedded slices with their labels, in memory: what label prompts are learnt from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float16, UInt16

from cobot.auto.consistency import part_count
from cobot.auto.recipe import AutoRecipe
from cobot.auto.variants import varied
from cobot.errors import ConfigError
from cobot.intensity import IntensityWindow
from cobot.planes import Slice
from cobot.sam.answer import SliceEmbedding
from cobot.sam.embed_many import SliceJob, embed_many
from cobot.sam.frame import SamFrame
from cobot.sam.segmenter import SliceSegmenter
from cobot.slicing import cut_slice
from cobot.training.corrections import Correction
from cobot.training.evaluate_propagation import VolumeCase, task_case
from cobot.training.task import TrainingTask

CELLS = 8
"""Label cells along the side of an embedding's place: the loss averages them."""

BANK_BYTES = 2 * 2**30
"""Of embedded pictures in memory: 10,000 of tiny's, or 1,000 of vit_b's at 1024 px."""

_UNIT = IntensityWindow(0.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedSlices:
    """Slices as the adapted encoder sees them.

    Attributes:
        features: image embeddings.
        labels: in the frame, 1 + the label's place in the order of names; 0 is none of them.
        known: whether a label was drawn in the case and is shown in the picture's window. A label
            without any voxel in a case was not drawn there; that teaches nothing of its absence.
        components: name of a structure to the connected parts it mostly has in 3D.
    """

    features: Float16[np.ndarray, "n c g g"]
    labels: UInt16[np.ndarray, "n cells cells"]
    known: Bool[np.ndarray, "n labels"]
    components: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """One picture to embed, with what it teaches."""

    job: SliceJob
    labels: np.ndarray
    known: Bool[np.ndarray, " labels"]


def embed_cases(
    cases: Sequence[Correction],
    task: TrainingTask,
    segmenter: SliceSegmenter,
    recipe: AutoRecipe,
    seed: int,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> EmbeddedSlices:
    """Read, vary and embed the cases to learn from; the volumes are held one at a time.

    Args:
        cases: labelled volumes.
        task: labels, windows, plane.
        segmenter: the base with the adapter.
        recipe: how many slices, in how many variants.
        seed: of the variants.
        report: told after each case how many are done, of how many.

    Raises:
        ConfigError: no case holds a label of the task.
    """
    features, labels, known = [], [], []
    parts: dict[str, list[int]] = {}
    quota = slice_quota(len(cases), task, segmenter, recipe)
    for number, one in enumerate(cases):
        case = task_case(one, task)
        for name, count in _parts(case).items():
            parts.setdefault(name, []).append(count)
        pictures = list(_pictures(case, task, recipe.variants, quota, [seed, number]))
        waiting = iter(pictures)
        for _, embedding in embed_many(segmenter, (picture.job for picture in pictures)):
            picture = next(waiting)
            features.append(embedding.features[0].cpu().numpy().astype(np.float16))
            labels.append(labels_in_frame(picture.labels, embedding))
            known.append(picture.known)
        report(number + 1, len(cases))
    if not features:
        raise ConfigError(
            f"None of {len(cases)} cases holds a voxel of {', '.join(task.labels.values())}; check "
            "the labels and --dataset."
        )
    components = {name: max(1, int(np.median(counts))) for name, counts in parts.items()}
    return EmbeddedSlices(np.stack(features), np.stack(labels), np.stack(known), components)


def slice_quota(
    cases: int, task: TrainingTask, segmenter: SliceSegmenter, recipe: AutoRecipe
) -> int:
    """Slices to take of each case, so that all pictures fit into `BANK_BYTES`; at least one."""
    shape = segmenter.base.shape
    places = (segmenter.side_px // shape.patch_size_px) ** 2
    picture_bytes = 2 * places * (shape.prompt_dim + CELLS**2)
    pictures_a_slice = recipe.variants * len(task.window_groups())
    fitting = BANK_BYTES // (picture_bytes * pictures_a_slice)
    return max(1, min(recipe.slices, fitting) // max(1, cases))


def labels_in_frame(
    labels: np.ndarray, embedding: SliceEmbedding
) -> UInt16[np.ndarray, "cells cells"]:
    """The label at the middle of each cell of SAM's square; 0 in the padding."""
    return framed_labels(labels, embedding.frame, CELLS * embedding.features.shape[-1])


def framed_labels(
    labels: np.ndarray, frame: SamFrame, cells: int
) -> UInt16[np.ndarray, "cells cells"]:
    """As `labels_in_frame`, in so many cells along the side."""
    at = (np.arange(cells) + 0.5) * frame.side_px / cells - 0.5
    xy = np.rint(frame.points_to_pixels(np.stack([at, at], axis=1))).astype(np.int64)
    inside = [at < size - 0.5 for size in frame.content_px]
    rows = np.clip(xy[:, 1], 0, labels.shape[0] - 1)
    cols = np.clip(xy[:, 0], 0, labels.shape[1] - 1)
    used = inside[0][:, None] & inside[1][None, :]
    return np.where(used, labels[np.ix_(rows, cols)], 0).astype(np.uint16)


def chosen_slices(held: Bool[np.ndarray, " slices"], quota: int) -> list[int]:
    """Which slices of a case to learn from: those with a label, and half as many without, spread.

    >>> chosen_slices(np.array([False, True, True, False, False]), 10)
    [0, 1, 2]
    """
    labelled, empty = np.flatnonzero(held), np.flatnonzero(~held)
    spare = _spread(empty, max(1, len(labelled) // 2))
    chosen = _spread(np.sort(np.concatenate([labelled, spare])), quota)
    return [int(index) for index in chosen]


def _spread(indices: np.ndarray, most: int) -> np.ndarray:
    if len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).round().astype(int)]


def _parts(case: VolumeCase) -> dict[str, int]:
    """Connected parts of each structure that the case has."""
    found = {name: part_count(case.truth == value) for value, name in case.labels.items()}
    return {name: count for name, count in found.items() if count}


def _pictures(
    case: VolumeCase, task: TrainingTask, variants: int, quota: int, seeds: list[int]
) -> Iterator[_Picture]:
    """Each chosen slice in each window, as it is and varied; nothing for a case without a label."""
    order = sorted(task.labels)
    ranks = np.zeros(max(order) + 1, np.uint16)
    ranks[order] = np.arange(1, len(order) + 1)
    drawn = {int(value) for value in np.unique(case.truth)} & set(order)
    if not drawn:
        return
    truth = np.moveaxis(case.truth, case.plane.axis, 0)
    held = np.isin(truth, order).any(axis=(1, 2))
    for index in chosen_slices(held, quota):
        slice_ = cut_slice(case.volume, case.plane, index)
        labels = ranks[case.plane.picture(case.truth, index)]
        for values in task.window_groups().values():
            known = np.array([value in drawn and value in values for value in order])
            if not known.any():
                continue
            unit = case.windows[task.labels[values[0]]].apply(slice_.pixels)
            for variant in range(variants):
                rng = np.random.default_rng([*seeds, index, variant])
                picture, moved = varied(unit, labels, rng) if variant else (unit, labels)
                shown = Slice(picture, slice_.plane, index, slice_.spacing_mm)
                yield _Picture(SliceJob(shown, _UNIT), moved, known)
