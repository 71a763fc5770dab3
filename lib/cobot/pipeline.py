"""Segment a volume: the whole story on one page."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from cobot.errors import PromptError
from cobot.intensity import IntensityWindow
from cobot.prompts import VolumePrompts
from cobot.sam.answer import SliceMask
from cobot.sam.embed_many import SliceJob, embed_many
from cobot.sam.segmenter import SliceSegmenter
from cobot.slicing import settle_overlaps, slice_volume, stack_masks
from cobot.volume import LabelMap, Volume


@dataclass(frozen=True, slots=True)
class VolumeSegmentation:
    """What was found in a volume.

    Attributes:
        label_map: on the volume's grid; values count from 1 in the order of the prompts' labels.
        predicted_iou: (label, slice index) to the decoder's own guess of that mask's quality.
        seconds_per_slice: measured, encoder and decoder together, over the prompted slices.
    """

    label_map: LabelMap
    predicted_iou: Mapping[tuple[str, int], float]
    seconds_per_slice: float


def segment_volume(
    volume: Volume,
    prompts: VolumePrompts,
    segmenter: SliceSegmenter,
    window: IntensityWindow,
) -> VolumeSegmentation:
    """Segment every prompted slice and put the masks back on the very voxels they came from.

    All labels of a slice are decoded in one call. Where their masks overlap the label with the
    highest logit wins. Slices without a prompt stay background.

    Raises:
        PromptError: no object is asked for, or a prompt lies outside the volume.
    """
    labels = _label_values(volume, prompts)
    started = time.perf_counter()
    asked = {
        slice_.index: (slice_, wanted)
        for slice_ in slice_volume(volume, prompts.plane)
        if (wanted := prompts.on_slice(slice_))
    }
    jobs = (SliceJob(slice_, window, tuple(on.values())) for slice_, on in asked.values())
    answers: dict[int, dict[str, SliceMask]] = {}
    for job, embedding in embed_many(segmenter, jobs):
        masks = segmenter.decode(embedding, job.prompts)
        index = job.slice_.index
        answers[index] = dict(zip(asked[index][1], masks, strict=True))
    seconds = time.perf_counter() - started
    pictures = {
        index: settle_overlaps([(labels[label], found.logits) for label, found in masks.items()])
        for index, masks in answers.items()
    }
    return VolumeSegmentation(
        label_map=stack_masks(
            pictures, prompts.plane, volume, {value: label for label, value in labels.items()}
        ),
        predicted_iou={
            (label, index): mask.predicted_iou
            for index, masks in answers.items()
            for label, mask in masks.items()
        },
        seconds_per_slice=seconds / max(len(answers), 1),
    )


def _label_values(volume: Volume, prompts: VolumePrompts) -> dict[str, int]:
    """Label to value; refuses prompts that cannot be used before any work is done."""
    if not prompts.objects:
        raise PromptError("Nothing to segment: give a box or a click for at least one object.")
    for target in prompts.objects:
        target.require_inside(volume)
    names = dict.fromkeys(target.label for target in prompts.objects)
    return {label: value for value, label in enumerate(names, start=1)}
