"""Every label asks for itself on every slice: all labels of a slice in one decoder batch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32

from cobot.auto.files import LabelPrompts
from cobot.intensity import IntensityWindow
from cobot.planes import Plane
from cobot.sam.answer import SliceEmbedding
from cobot.sam.embed_many import BatchPlan, SliceJob, embed_many
from cobot.sam.learned_prompts import LearnedQuestion
from cobot.sam.segmenter import SliceSegmenter
from cobot.slicing import cut_slice
from cobot.volume import Volume

LEAST_PRESENCE = 0.5
"""A label that is less likely to be on a slice is not looked for there."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelAnswer:
    """One label on one slice.

    Attributes:
        logits: on the slice's pixels; above 0 is object.
        predicted_iou: the decoder's own guess of the mask's quality.
    """

    logits: Float32[np.ndarray, "row col"]
    predicted_iou: float


@dataclass(frozen=True, slots=True, eq=False)
class FirstLook:
    """What the labels say of one slice.

    Attributes:
        index: of the slice.
        presence: label to the probability that it is there, for all labels.
        found: label to its answer, for those that are likely to be there.
    """

    index: int
    presence: Mapping[str, float]
    found: Mapping[str, LabelAnswer]


@dataclass(frozen=True, slots=True, eq=False)
class ShownVolume:
    """A volume as it is cut and shown.

    Attributes:
        volume: the volume.
        plane: how it is cut.
        windows: each window to the labels that are looked for in it.
        name: names the volume in the cache, if it has one.
    """

    volume: Volume
    plane: Plane
    windows: Mapping[IntensityWindow, tuple[str, ...]]
    name: str = ""

    @classmethod
    def of(
        cls, volume: Volume, prompts: LabelPrompts, window: IntensityWindow | None, name: str = ""
    ) -> "ShownVolume":
        """As the labels were learnt; `window` shows all of them in another one."""
        task = prompts.settings.task
        plane = task.plane(volume.affine)
        if window is not None:
            return cls(volume, plane, {window: prompts.settings.names}, name)
        resolved, groups = task.resolve_windows(volume), task.window_groups()
        shown: dict[IntensityWindow, tuple[str, ...]] = {}
        for text, values in groups.items():
            names = tuple(task.labels[value] for value in values)
            shown[resolved[text]] = (*shown.get(resolved[text], ()), *names)
        return cls(volume, plane, shown, name)

    def jobs(self) -> Iterator[SliceJob]:
        """Every slice in every window, slice by slice."""
        for index in range(self.volume.shape[self.plane.axis]):
            slice_ = cut_slice(self.volume, self.plane, index)
            for window in self.windows:
                yield SliceJob(slice_, window, volume=self.name)


def first_looks(
    shown: ShownVolume, segmenter: SliceSegmenter, prompts: LabelPrompts, plan: BatchPlan
) -> Iterator[FirstLook]:
    """What the labels say of each slice, in order."""
    presence: dict[str, float] = {}
    found: dict[str, LabelAnswer] = {}
    left = len(shown.windows)
    for job, embedding in embed_many(segmenter, shown.jobs(), plan):
        names = shown.windows[job.window]
        likely, answers = look(segmenter, prompts, embedding, names)
        presence, found, left = presence | likely, found | answers, left - 1
        if left == 0:
            yield FirstLook(job.slice_.index, presence, found)
            presence, found, left = {}, {}, len(shown.windows)


@torch.inference_mode()
def look(
    segmenter: SliceSegmenter,
    prompts: LabelPrompts,
    embedding: SliceEmbedding,
    names: tuple[str, ...],
    least_presence: float = LEAST_PRESENCE,
) -> tuple[dict[str, float], dict[str, LabelAnswer]]:
    """Presence of some labels on one slice, and the answers of those that are likely there.

    Args:
        segmenter: the base with the adapter that the prompts were learnt on.
        prompts: the labels.
        embedding: of the slice, in the window of these labels.
        names: which labels.
        least_presence: from which on a label is asked for.
    """
    prompter, order = prompts.prompter, prompts.settings.names
    device = prompter.tokens.device
    rows = torch.tensor([order.index(name) for name in names], device=device)
    guess = prompter(embedding.features.to(device, torch.float32))
    likely = torch.sigmoid(guess.presence[0, rows])
    presence = dict(zip(names, likely.tolist(), strict=True))
    asked = rows[likely >= least_presence]
    if not len(asked):
        return presence, {}
    shown = guess.shown[0, asked]
    chosen = segmenter.decode_learned(embedding, LearnedQuestion(prompter.tokens[asked], shown))
    logits = prompter.mixed(chosen.logits.to(device), shown, asked)
    on_slice = embedding.frame.mask_to_pixels(logits).cpu().numpy()
    return presence, {
        order[row]: LabelAnswer(on_slice[place], iou)
        for place, (row, iou) in enumerate(
            zip(asked.tolist(), chosen.predicted_iou.tolist(), strict=True)
        )
    }
