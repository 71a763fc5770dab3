"""Segment a volume without a prompt: labels ask for themselves, 3D settles them, boxes refine."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Float32

from cobot.auto.consistency import DEFAULT_CONSISTENCY, ConsistencyRule, LabelStack, consistent
from cobot.auto.files import LabelPrompts
from cobot.auto.first_pass import LabelAnswer, ShownVolume, first_looks
from cobot.auto.grow import followed_labels
from cobot.auto.second_pass import second_looks
from cobot.errors import AdapterError
from cobot.intensity import IntensityWindow
from cobot.sam.embed_many import BatchPlan
from cobot.sam.embeddings import EmbeddingService
from cobot.sam.segmenter import SliceSegmenter
from cobot.shapes import Mask
from cobot.slicing import settle_overlaps, stack_masks
from cobot.volume import LabelMap, Volume

EMBEDDINGS_BYTES = 2**30
"""Of one volume, kept from the first pass to the second; more are computed again."""

SecondPass = Literal["none", "boxes", "propagation"]
"""What asks again: nothing, the boxes of what was found, or a walk from the surest slice."""


@dataclass(frozen=True, slots=True)
class AutoPlan:
    """How a volume is segmented.

    Attributes:
        consistency: what a structure in 3D may look like; None leaves the first pass as it is.
        second_pass: what asks again.
        slices_at_once: in one encoder batch.
        embeddings: where embeddings are kept; None is a service for this volume alone.
        name: names the volume in that service's cache on disk.
    """

    consistency: ConsistencyRule | None = DEFAULT_CONSISTENCY
    second_pass: SecondPass = "boxes"
    slices_at_once: int = 4
    embeddings: EmbeddingService | None = None
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class AutoSegmentation:
    """What was found in a volume; has all that `VolumeSegmentation` has.

    Attributes:
        label_map: on the volume's grid; values count from 1 in the order of the labels.
        predicted_iou: (label, slice index) to the decoder's own guess, where the label was found.
        seconds_per_slice: of the whole work, over all slices.
        presence: (label, slice index) to the probability that the label is there, for all slices.
        confidence: (label, slice index) to presence x predicted IoU x agreement of the two passes.
        seconds: by step.
    """

    label_map: LabelMap
    predicted_iou: Mapping[tuple[str, int], float]
    seconds_per_slice: float
    presence: Mapping[tuple[str, int], float] = field(default_factory=dict)
    confidence: Mapping[tuple[str, int], float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def least_certain(self) -> tuple[str, int] | None:
        """Label and slice most worth a look; None where nothing was found."""
        return min(self.confidence, key=lambda key: self.confidence[key], default=None)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Label pictures, slice by slice, and what is known of each label on each slice."""

    stack: LabelStack
    predicted_iou: Mapping[tuple[str, int], float]
    presence: Mapping[tuple[str, int], float]
    agreement: Mapping[tuple[str, int], float] = field(default_factory=dict)


def segment_auto(
    volume: Volume,
    segmenter: SliceSegmenter,
    prompts: LabelPrompts,
    window: IntensityWindow | None = None,
    plan: AutoPlan = AutoPlan(),
) -> AutoSegmentation:
    """Segment every label that the prompts know, wherever it is.

    Args:
        volume: the image.
        segmenter: the base with the adapter that the prompts were learnt on.
        prompts: the labels, and how volumes are cut and shown for them.
        window: shows every label in this one; None in those it was learnt in.
        plan: which steps are taken.

    Raises:
        AdapterError: the prompts belong to another base or adapter.
        WindowError: a window does not fit the volume.
    """
    require_match(segmenter, prompts)
    started = time.perf_counter()
    kept = plan.embeddings or EmbeddingService(EMBEDDINGS_BYTES)
    batches = BatchPlan(plan.slices_at_once, kept)
    shown = ShownVolume.of(volume, prompts, window, plan.name)
    values = {name: value for value, name in enumerate(prompts.settings.names, start=1)}
    prompts.prompter.to(segmenter.device)
    found = _first(shown, segmenter, prompts, values, batches)
    first_s = time.perf_counter() - started
    if plan.consistency is not None:
        expected = {values[name]: count for name, count in prompts.settings.components.items()}
        settled = consistent(found.stack, expected, plan.consistency)
        found = replace(found, stack=settled)
    consistency_s = time.perf_counter() - started - first_s
    if plan.second_pass != "none":
        found = _second(shown, segmenter, found, values, batches, plan.second_pass)
    total_s = time.perf_counter() - started
    return _result(
        shown,
        values,
        found,
        {
            "first_pass": first_s,
            "consistency": consistency_s,
            "second_pass": total_s - first_s - consistency_s,
        },
    )


def require_match(segmenter: SliceSegmenter, prompts: LabelPrompts) -> None:
    """Refuse label prompts on the embeddings of another base or adapter.

    Raises:
        AdapterError: naming both sides.
    """
    asked = (prompts.settings.base_sha256, prompts.settings.adapter_sha256)
    given = (segmenter.base_sha256, segmenter.adapter_hash)
    if asked != given:
        raise AdapterError(
            f"The label prompts were learnt on base {asked[0][:12]} with adapter "
            f"{asked[1][:12] or 'none'}, but the model runs base {given[0][:12]} with adapter "
            f"{given[1][:12] or 'none'}: load the adapter version that they lie beside."
        )


def label_masks(stack: LabelStack, values: Mapping[str, int]) -> dict[int, dict[str, Mask]]:
    """Slice index to label to its mask there; what is empty is left out."""
    names = {value: name for name, value in values.items()}
    found: dict[int, dict[str, Mask]] = {}
    for index, picture in enumerate(stack):
        here = {names[int(value)]: picture == value for value in np.unique(picture) if value}
        if here:
            found[index] = here
    return found


def _first(
    shown: ShownVolume,
    segmenter: SliceSegmenter,
    prompts: LabelPrompts,
    values: Mapping[str, int],
    batches: BatchPlan,
) -> _Found:
    """Each label on each slice, by itself."""
    stack = empty_stack(shown)
    iou: dict[tuple[str, int], float] = {}
    presence: dict[tuple[str, int], float] = {}
    for looked in first_looks(shown, segmenter, prompts, batches):
        presence |= {(name, looked.index): likely for name, likely in looked.presence.items()}
        if looked.found:
            stack[looked.index] = settle_overlaps(_claims(looked.found, values))
            iou |= {(name, looked.index): one.predicted_iou for name, one in looked.found.items()}
    return _Found(stack, iou, presence)


def _second(
    shown: ShownVolume,
    segmenter: SliceSegmenter,
    found: _Found,
    values: Mapping[str, int],
    batches: BatchPlan,
    kind: SecondPass,
) -> _Found:
    """What was found asks again; the answers replace it."""
    answers: dict[int, dict[str, LabelAnswer]] = {}
    iou = dict(found.predicted_iou)
    agreement: dict[tuple[str, int], float] = {}
    stack = np.zeros_like(found.stack)
    first = label_masks(found.stack, values)
    if kind == "boxes":
        again = second_looks(shown, first, segmenter, batches)
    else:
        certainty = {key: one * found.presence[key] for key, one in found.predicted_iou.items()}
        kept = batches.cache or EmbeddingService(EMBEDDINGS_BYTES)
        again = followed_labels(shown, first, certainty, segmenter, kept)
    for index, name, second in again:
        answers.setdefault(index, {})[name] = second.answer
        iou[name, index] = second.answer.predicted_iou
        agreement[name, index] = second.agreement
        # Boxes come slice by slice: a finished one is settled, so that few logits are held.
        if kind == "boxes" and len(answers[index]) == len(first[index]):
            stack[index] = settle_overlaps(_claims(answers.pop(index), values))
    for index, here in answers.items():
        stack[index] = settle_overlaps(_claims(here, values))
    return _Found(stack, iou, found.presence, agreement)


def _claims(
    answers: Mapping[str, LabelAnswer], values: Mapping[str, int]
) -> list[tuple[int, Float32[np.ndarray, "row col"]]]:
    return [(values[name], one.logits) for name, one in answers.items()]


def empty_stack(shown: ShownVolume) -> LabelStack:
    """Pictures of every slice without any label."""
    rows, cols = shown.plane.picture(shown.volume.voxels, 0).shape
    return np.zeros((shown.volume.shape[shown.plane.axis], rows, cols), np.uint16)


def _result(
    shown: ShownVolume, values: Mapping[str, int], found: _Found, seconds: Mapping[str, float]
) -> AutoSegmentation:
    """What was found, back on the volume's voxels."""
    labels = {value: name for name, value in values.items()}
    masks = label_masks(found.stack, values)
    here = [(name, index) for index, names in masks.items() for name in names]
    iou = {key: found.predicted_iou.get(key, 0.0) for key in here}
    pictures = {index: found.stack[index] for index in masks}
    return AutoSegmentation(
        label_map=stack_masks(pictures, shown.plane, shown.volume, labels),
        predicted_iou=iou,
        seconds_per_slice=sum(seconds.values()) / len(found.stack),
        presence=found.presence,
        confidence={
            key: found.presence[key]
            * float(np.clip(iou[key], 0, 1))
            * found.agreement.get(key, 1.0)
            for key in here
        },
        seconds=seconds,
    )
