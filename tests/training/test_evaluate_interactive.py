"""A simulated annotator with a model that knows the truth, and baselines known by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from cobot.datasets.phantom import abdomen_phantom
from cobot.intensity import IntensityWindow
from cobot.planes import acquired_plane
from cobot.prompts import Prompts
from cobot.propagate_slices import Question
from cobot.sam.answer import SliceMask
from cobot.sam.segmenter import SliceSegmenter
from cobot.sam.weights import load_sam
from cobot.training.annotation_tools import SliceBySlice, ThroughTheVolume
from cobot.training.evaluate_interactive import (
    BASELINES,
    MODEL_TOOLS,
    AnnotatedStructure,
    Effort,
    EffortRule,
    EffortStep,
    baseline_efforts,
    case_structures,
    model_efforts,
    work,
)
from cobot.training.evaluate_prompts import PromptedCase
from cobot.training.simulated_annotator import AnnotatorHabits, SimulatedAnnotator, volume_dice
from cobot.volume import LabelMap

SLICES, FIRST, LAST = 14, 2, 11


def disc(radius: float = 8.0, side: int = 32) -> np.ndarray:
    rows, cols = np.ogrid[:side, :side]
    return (rows - 15.5) ** 2 + (cols - 15.5) ** 2 <= radius**2


def cylinder() -> dict[int, np.ndarray]:
    return {index: disc() for index in range(FIRST, LAST + 1)}


@dataclass(frozen=True)
class Oracle:
    """Answers every question on a slice with the truth there."""

    truth: dict[int, np.ndarray]
    asked: list[int] = field(default_factory=list)
    count: int = SLICES
    step_mm: float = 5.0
    pixel_mm: tuple[float, float] = (1.0, 1.0)

    def picture(self, index: int) -> np.ndarray:
        return self._true(index).astype(np.float32)

    def answer(self, index: int, questions: Sequence[Question]) -> list[SliceMask]:
        self.asked.append(index)
        mask = self._true(index)
        logits = np.where(mask, 4.0, -4.0).astype(np.float32)
        return [SliceMask(mask, logits, logits, 0.9) for _ in questions]

    def _true(self, index: int) -> np.ndarray:
        return self.truth.get(index, np.zeros((32, 32), bool))


def structure(truth: dict[int, np.ndarray]) -> AnnotatedStructure:
    return AnnotatedStructure("case", "rod", lambda: Oracle(truth), truth, (1.0, 1.0))


def by_tool(efforts: Sequence[Effort]) -> dict[str, Effort]:
    return {one.tool: one for one in efforts}


def test_an_oracle_needs_one_prompt_a_slice_in_2d_and_one_in_3d():
    efforts = by_tool(model_efforts(structure(cylinder()), EffortRule()))
    # Of ten equal slices n give Dice 2 n / (n + 10): 7 give 0.82, 8 give 0.89 and 9 give 0.95.
    assert efforts["2d"].prompts_to(0.80) == 7
    assert efforts["2d"].prompts_to(0.85) == 8
    assert efforts["2d"].prompts_to(0.90) == 9
    assert len(efforts["2d"].steps) == 9
    dice = [round(efforts["2d"].dice_after(n), 3) for n in (0, 1, 9, 30)]
    assert dice == [0, 0.182, 0.947, 0.947]
    assert efforts["3d"].prompts_to(0.90) == 1
    assert efforts["3d"].steps[0].dice == 1.0
    assert efforts["2d_filled"].prompts_to(0.90) == 2, "both ends, and what lies between"


def test_each_slice_is_prompted_once_when_the_answer_is_right():
    truth = cylinder()
    oracle = Oracle(truth)
    work(structure(truth), "2d", SliceBySlice(oracle), AnnotatorHabits(), 30)
    assert sorted(oracle.asked) == sorted(set(oracle.asked))


def test_interpolated_outlines_are_exact_for_a_cylinder_from_its_ends():
    efforts = by_tool(baseline_efforts(structure(cylinder()), EffortRule()))
    outline = efforts["outline_filled"]
    assert outline.prompts_to(0.90) == 2
    assert outline.steps[-1].dice == 1.0
    assert outline.steps[0].dice == pytest.approx(2 / 11)
    # Boxes are jittered, so the ellipses are not quite the discs.
    assert 0.85 < efforts["ellipse_filled"].steps[1].dice < 1.0
    assert efforts["ellipse"].dice_after(1) < 0.2
    assert list(efforts) == list(BASELINES)


def test_a_wrong_answer_gets_corrective_clicks_and_then_the_slice_is_left():
    truth = {3: disc(8.0), 4: disc(6.0)}
    nothing = np.zeros((32, 32), bool)
    annotator = SimulatedAnnotator(truth, AnnotatorHabits(prompts_a_slice=3))
    prompted = [annotator.prompt({3: nothing, 4: nothing}) for _ in range(7)]
    assert prompted == [3, 3, 3, 4, 4, 4, None], "the larger error first, three prompts each"
    assert annotator.asked[3].box_xyxy is not None
    assert all(click.positive for click in annotator.asked[3].clicks)
    assert annotator.asked[3].prompts.points_xy.shape == (2, 2)


def test_a_spill_on_a_slice_without_the_structure_gets_a_negative_click():
    annotator = SimulatedAnnotator({3: disc()}, AnnotatorHabits())
    assert annotator.prompt({3: disc(), 5: disc(4.0)}) == 5
    (click,) = annotator.asked[5].clicks
    assert not click.positive
    assert annotator.asked[5].prompts is None
    assert annotator.prompt({3: disc()}) is None, "nothing is wrong"


def test_a_click_may_come_first_and_boxes_depend_on_the_seed():
    click = SimulatedAnnotator({3: disc()}, AnnotatorHabits(first="click"))
    click.prompt({})
    assert click.asked[3].box_xyxy is None
    assert isinstance(click.asked[3].prompts, Prompts)
    boxes = []
    for seed in (0, 0, 1):
        annotator = SimulatedAnnotator({3: disc()}, AnnotatorHabits(seed=seed))
        annotator.prompt({})
        boxes.append(annotator.asked[3].box_xyxy.tolist())
    assert boxes[0] == boxes[1] != boxes[2]


def test_negative_clicks_alone_are_handed_to_the_walks():
    truth = cylinder()
    tool = ThroughTheVolume(Oracle(truth))
    annotator = SimulatedAnnotator(truth, AnnotatorHabits())
    masks = tool.answer(annotator.asked, annotator.prompt({}))
    assert volume_dice(masks, truth) == 1.0
    spilt = masks | {LAST + 1: disc()}
    index = annotator.prompt(spilt)
    assert index == LAST + 1
    assert volume_dice(tool.answer(annotator.asked, index), truth) == 1.0


def test_dice_and_seconds_to_a_target():
    steps = (EffortStep(0.5, 1.0), EffortStep(0.86, 2.5), EffortStep(0.82, 3.0))
    effort = Effort("a", "liver", "2d", steps)
    assert [effort.prompts_to(target) for target in (0.80, 0.85, 0.90)] == [2, 2, None]
    assert [effort.waited_to(target) for target in (0.85, 0.90)] == [2.5, None]
    assert volume_dice({1: disc()}, {1: disc(), 2: disc()}) == pytest.approx(2 / 3)


def test_a_real_model_on_a_phantom_repeats():
    phantom = abdomen_phantom(3, shape=(48, 40, 4), spacing_mm=(8.0, 8.0, 36.0))
    liver = np.where(phantom.truth.voxels == 1, 1, 0).astype(np.uint8)
    case = PromptedCase(
        "phantom", phantom.volume, LabelMap(liver, phantom.truth.affine, {1: "liver"}),
        acquired_plane(phantom.volume.affine), IntensityWindow(-160.0, 240.0),
    )  # fmt: skip
    segmenter = SliceSegmenter(load_sam("tiny"))
    dice = []
    for _ in range(2):
        (found,) = case_structures(case, segmenter)
        efforts = model_efforts(found, EffortRule(cap=2))
        assert [one.tool for one in efforts] == list(MODEL_TOOLS)
        assert all(len(one.steps) <= 2 for one in efforts)
        dice.append([[step.dice for step in one.steps] for one in efforts])
    assert dice[0] == dice[1]
