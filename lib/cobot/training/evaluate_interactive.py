"""The annotator's effort: prompts, and seconds waited, until a volume is good enough.

A simulated annotator goes prompt by prompt to the slice that is most wrong. Every tool and every
baseline is worked with in the same way, each beginning with nothing embedded and nothing asked.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from cobot.propagate_slices import AnsweringSlices, VolumeSlices
from cobot.sam.embeddings import EmbeddingService
from cobot.sam.segmenter import SliceSegmenter
from cobot.shapes import Mask
from cobot.training.annotation_tools import (
    AnnotationTool,
    DrawnByHand,
    EllipseInBox,
    FilledBetween,
    SliceBySlice,
    ThroughTheVolume,
)
from cobot.training.evaluate_prompts import PromptedCase
from cobot.training.evaluate_propagation import EMBEDDINGS_BYTES
from cobot.training.simulated_annotator import (
    AnnotatorHabits,
    FirstPrompt,
    SimulatedAnnotator,
    volume_dice,
)

TARGETS = (0.80, 0.85, 0.90)
DEFAULT_CAP = 30

ModelTool = Literal["2d", "2d_filled", "3d"]
Baseline = Literal["ellipse", "ellipse_filled", "outline_filled"]
MODEL_TOOLS: Sequence[ModelTool] = ("2d", "2d_filled", "3d")
"""A slice at a time; the same with shapes interpolated between; carried through the volume."""

BASELINES: Sequence[Baseline] = ("ellipse", "ellipse_filled", "outline_filled")
"""Ellipse in each box; shapes interpolated between such ellipses; between outlines by hand."""


@dataclass(frozen=True, slots=True)
class EffortRule:
    """How long the annotator goes on.

    Attributes:
        first: box or click, what a slice is given first; baselines always get boxes.
        cap: prompts a volume, at most.
        seed: of the jitter of boxes.
    """

    first: FirstPrompt = "box"
    cap: int = DEFAULT_CAP
    seed: int = 0


@dataclass(frozen=True, slots=True)
class EffortStep:
    """After one prompt.

    Attributes:
        dice: 3D Dice of the volume.
        waited_s: seconds for answers, all prompts so far together.
    """

    dice: float
    waited_s: float


@dataclass(frozen=True, slots=True)
class Effort:
    """One structure of one case, worked on with one tool.

    Attributes:
        case: its name.
        structure: its name.
        tool: of `MODEL_TOOLS` or `BASELINES`.
        steps: one a prompt; ends with the last target, the cap, or where nothing more can be said.
    """

    case: str
    structure: str
    tool: str
    steps: Sequence[EffortStep] = field(default_factory=tuple)

    def prompts_to(self, target: float) -> int | None:
        """Prompts until the target was met for the first time; None if it never was."""
        for number, step in enumerate(self.steps, start=1):
            if step.dice >= target:
                return number
        return None

    def waited_to(self, target: float) -> float | None:
        """Seconds waited until then."""
        number = self.prompts_to(target)
        return None if number is None else self.steps[number - 1].waited_s

    def dice_after(self, prompts: int) -> float:
        """Dice after so many prompts: the last one if the annotator had stopped before."""
        if prompts == 0 or not self.steps:
            return 0.0
        return self.steps[min(prompts, len(self.steps)) - 1].dice


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedStructure:
    """One structure of one case.

    Attributes:
        case: its name.
        name: of the structure.
        slices: makes the slices, with a model that has embedded nothing.
        truth: slice index to its pixels; slices without it are left out.
        pixel_mm: distance of pixel centres, down the rows and along the columns.
    """

    case: str
    name: str
    slices: Callable[[], AnsweringSlices]
    truth: Mapping[int, Mask]
    pixel_mm: tuple[float, float]


def case_structures(case: PromptedCase, segmenter: SliceSegmenter) -> Iterator[AnnotatedStructure]:
    """The structures that a case has, in the order of their values."""
    count = case.volume.shape[case.plane.axis]

    def fresh() -> VolumeSlices:
        kept = EmbeddingService(EMBEDDINGS_BYTES)
        return VolumeSlices(case.volume, case.plane, case.window, segmenter, kept)

    for value, name in sorted(case.truth.labels.items()):
        pictures = ((i, case.plane.picture(case.truth.voxels, i) == value) for i in range(count))
        truth = {index: mask for index, mask in pictures if mask.any()}
        if truth:
            yield AnnotatedStructure(case.name, name, fresh, truth, fresh().pixel_mm)


def model_efforts(structure: AnnotatedStructure, rule: EffortRule) -> list[Effort]:
    """Work on a structure with each of `MODEL_TOOLS`."""
    efforts = []
    for name in MODEL_TOOLS:
        tool: AnnotationTool
        if name == "3d":
            tool = ThroughTheVolume(structure.slices())
        else:
            tool = SliceBySlice(structure.slices())
        if name == "2d_filled":
            tool = FilledBetween(tool, structure.pixel_mm)
        habits = AnnotatorHabits(rule.first, ends_first=name == "2d_filled", seed=rule.seed)
        efforts.append(work(structure, name, tool, habits, rule.cap))
    return efforts


def baseline_efforts(structure: AnnotatedStructure, rule: EffortRule) -> list[Effort]:
    """Work on a structure with each of `BASELINES`; a slice is given one box, or one outline."""
    some = next(iter(structure.truth.values()))
    ellipse = EllipseInBox((some.shape[0], some.shape[1]))
    tools: Mapping[Baseline, AnnotationTool] = {
        "ellipse": ellipse,
        "ellipse_filled": FilledBetween(ellipse, structure.pixel_mm),
        "outline_filled": FilledBetween(DrawnByHand(structure.truth), structure.pixel_mm),
    }
    once = AnnotatorHabits("box", prompts_a_slice=1, seed=rule.seed)
    ends = replace(once, ends_first=True)
    return [
        work(structure, name, tools[name], once if name == "ellipse" else ends, rule.cap)
        for name in BASELINES
    ]


def work(
    structure: AnnotatedStructure,
    name: str,
    tool: AnnotationTool,
    habits: AnnotatorHabits,
    cap: int,
) -> Effort:
    """Prompt until the last target is met, the cap, or nothing more can be said."""
    annotator = SimulatedAnnotator(structure.truth, habits)
    masks: dict[int, Mask] = {}
    steps: list[EffortStep] = []
    waited_s = 0.0
    while len(steps) < cap and (not steps or steps[-1].dice < TARGETS[-1]):
        index = annotator.prompt(masks)
        if index is None:
            break
        started = time.perf_counter()
        masks = tool.answer(annotator.asked, index)
        waited_s += time.perf_counter() - started
        steps.append(EffortStep(volume_dice(masks, structure.truth), waited_s))
    return Effort(structure.case, structure.name, name, tuple(steps))
