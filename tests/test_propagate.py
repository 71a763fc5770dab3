"""Propagation against a model that knows the truth, and against the shipped one on a phantom."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from cobot.datasets.phantom import abdomen_phantom
from cobot.errors import ConfigError, GeometryError, PromptError
from cobot.intensity import PRESETS
from cobot.planes import acquired_plane, plane_across
from cobot.prompts import ObjectPrompts, Prompts, tight_box
from cobot.propagate import Propagation, Seeds, propagate, propagate_together, reconcile
from cobot.propagate_rule import PropagationRule
from cobot.propagate_slices import AnsweringSlices, Question, VolumeSlices
from cobot.propagate_walk import PropagatedSlice
from cobot.sam.answer import SliceMask
from cobot.sam.embeddings import EmbeddingService
from cobot.sam.segmenter import SliceSegmenter
from cobot.sam.weights import load_sam
from cobot.slicing import stack_masks
from cobot.training.evaluate import dice

LOOSE = PropagationRule(least_overlap=0.01, largest_ratio=50.0, smallest_share=0.0)


@dataclass(frozen=True)
class KnownSlices:
    """Answers a box with the truth inside it; notes what it was asked."""

    truth: np.ndarray
    step_mm: float = 5.0
    predicted_iou: Callable[[int], float] = lambda index: 0.9
    asked: list[tuple[int, Question]] = field(default_factory=list)
    pixel_mm: tuple[float, float] = (1.0, 1.0)

    grey: Callable[[int], float] = lambda index: 0.5

    @property
    def count(self) -> int:
        return len(self.truth)

    def picture(self, index: int) -> np.ndarray:
        return np.full(self.truth.shape[1:], self.grey(index), np.float32)

    def answer(self, index: int, questions: Sequence[Question]) -> list[SliceMask]:
        self.asked.extend((index, one) for one in questions)
        return [self._one(index, one.prompts) for one in questions]

    def _one(self, index: int, prompts: Prompts) -> SliceMask:
        x0, y0, x1, y1 = prompts.box_xyxy.astype(int)
        mask = np.zeros(self.truth.shape[1:], bool)
        mask[y0 : y1 + 1, x0 : x1 + 1] = self.truth[index, y0 : y1 + 1, x0 : x1 + 1]
        logits = np.where(mask, 4.0, -4.0).astype(np.float32)
        return SliceMask(mask, logits, logits, self.predicted_iou(index))


def squares(sides: Sequence[int], size: int = 40) -> np.ndarray:
    """A stack of centred squares; 0 is an empty slice."""
    truth = np.zeros((len(sides), size, size), bool)
    for index, side in enumerate(sides):
        low = (size - side) // 2
        truth[index, low : low + side, low : low + side] = True
    return truth


def box_on(truth: np.ndarray, index: int) -> Seeds:
    return Seeds({index: Prompts(box_xyxy=tight_box(truth[index]))})


def reasons(found: Propagation) -> dict[int, str]:
    return {end.direction: end.reason for end in found.ends}


def test_it_goes_both_ways_and_ends_where_the_structure_does():
    truth = squares([0, 10, 14, 20, 14, 10, 0, 8])
    found = propagate(KnownSlices(truth), box_on(truth, 3), LOOSE)
    assert list(found.slices) == [1, 2, 3, 4, 5]
    assert all(np.array_equal(found.masks[index], truth[index]) for index in found.slices)
    assert reasons(found) == {-1: "empty", 1: "empty"}
    assert [end.index for end in found.ends] == [0, 6], "what comes after a gap is another thing"
    assert [one.distance_mm for one in found.slices.values()] == [10, 5, 0, 5, 10]


def test_the_edges_of_the_volume_end_it():
    truth = squares([10, 10, 10])
    found = propagate(KnownSlices(truth), box_on(truth, 1), LOOSE)
    assert list(found.slices) == [0, 1, 2]
    assert [(end.reason, end.index) for end in found.ends] == [("edge", -1), ("edge", 3)]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (PropagationRule(least_overlap=0.5, largest_ratio=50.0), "apart"),
        (PropagationRule(least_overlap=0.01, largest_ratio=3.0), "jump"),
        (PropagationRule(least_overlap=0.01, largest_ratio=50.0, reach_mm=4.0), "reach"),
        (PropagationRule(least_predicted_iou=0.95), "unsure"),
    ],
)
def test_each_limit_ends_a_walk(rule, reason):
    truth = squares([10, 20])
    found = propagate(KnownSlices(truth), box_on(truth, 1), rule)
    assert list(found.slices) == [1]
    assert reasons(found) == {-1: reason, 1: "edge"}
    again = propagate(KnownSlices(truth), box_on(truth, 1), LOOSE)
    assert list(again.slices) == [0, 1], "only that limit was in the way"


def test_other_grey_values_end_a_walk_and_lower_the_confidence():
    truth = squares([10, 10, 10, 10])
    # Bins are 1/16 wide and blurred by one: of two bins apart a third is common, of eight nothing.
    greys = {0: 0.5, 1: 0.5, 2: 0.5 + 2 / 16, 3: 0.99}
    slices = KnownSlices(truth, grey=greys.__getitem__)
    found = propagate(slices, box_on(truth, 0), PropagationRule(least_likeness=0.2))
    assert list(found.slices) == [0, 1, 2]
    assert reasons(found) == {-1: "edge", 1: "unlike"}
    assert found.slices[1].likeness == pytest.approx(1.0)
    assert 0.2 < found.slices[2].likeness < 0.5
    assert found.confidence[2] == pytest.approx(0.9 * found.slices[2].likeness)
    assert found.least_certain == 2


def test_limits_are_of_millimetres_not_of_slices():
    # A quarter of the area is left: IoU 0.25, ratio 4; at 10 mm the limits are squared.
    truth = squares([10, 20])
    rule = PropagationRule(least_overlap=0.45, largest_ratio=2.5)
    near = propagate(KnownSlices(truth, step_mm=5.0), box_on(truth, 1), rule)
    far = propagate(KnownSlices(truth, step_mm=10.0), box_on(truth, 1), rule)
    assert (list(near.slices), list(far.slices)) == ([1], [0, 1])


def test_parts_ask_apart_and_may_end_apart():
    truth = np.zeros((4, 20, 60), bool)
    truth[:, 5:15, 5:15] = True
    truth[:2, 5:15, 45:55] = True
    slices = KnownSlices(truth)
    found = propagate(slices, box_on(truth, 0), LOOSE)
    assert all(np.array_equal(found.masks[index], truth[index]) for index in range(4))
    boxes = [one.prompts.box_xyxy.tolist() for index, one in slices.asked if index == 1]
    assert sorted(boxes) == [[5, 5, 14, 14], [45, 5, 54, 14]], "no box over the gap"


def test_specks_do_not_ask_and_strays_are_dropped():
    truth = squares([20, 20, 20])
    truth[1, 1, 1] = True
    slices = KnownSlices(truth)
    found = propagate(slices, Seeds({1: Prompts(box_xyxy=np.array([0.0, 0, 39, 39]))}))
    assert sum(index == 0 for index, _ in slices.asked) == 1
    truth = squares([20, 20])
    truth[0, 12:14, 35:38] = True
    wide = PropagationRule(widening=2.0)
    found = propagate(KnownSlices(truth), box_on(truth, 1), wide)
    assert not found.masks[0][:, 35:].any(), "it lies nowhere over the structure"


def test_widening_begins_again_from_each_mask():
    truth = squares([20, 20, 20, 20])
    slices = KnownSlices(truth, step_mm=5.0)
    propagate(slices, box_on(truth, 0), PropagationRule(widening=0.4))
    asked = [one.prompts.box_xyxy.tolist() for _, one in slices.asked[1:]]
    assert asked == [[8, 8, 31, 31]] * 3


def test_next_prompts():
    truth = squares([21, 21])
    for kind, points, shown in (("box", 0, False), ("box+point", 1, False), ("box+mask", 0, True)):
        slices = KnownSlices(truth)
        propagate(slices, box_on(truth, 0), PropagationRule(next_prompt=kind))
        (_, question) = slices.asked[-1]
        assert len(question.prompts.points_xy) == points
        assert (question.last_mask is not None) is shown
        if points:
            row, col = question.prompts.points_xy[0].astype(int).tolist()
            assert (row, col) == (19, 19)
            assert question.prompts.positive.all()


def test_a_second_look_asks_with_the_box_of_the_first_answer():
    truth = squares([20, 14, 0])
    slices = KnownSlices(truth)
    propagate(slices, box_on(truth, 0), replace(LOOSE, looks=2))
    asked = [(index, one.prompts.box_xyxy.tolist()) for index, one in slices.asked]
    large, small = ([10, 10, 29, 29], [13, 13, 26, 26])
    # Where nothing is found there is no other box to ask with.
    assert asked == [(0, large), (1, large), (1, small), (2, small), (2, small)]


def test_negative_clicks_join_the_walks_question():
    truth = squares([10, 10, 10])
    slices = KnownSlices(truth)
    seeds = Seeds({0: Prompts(box_xyxy=tight_box(truth[0]))}, {1: np.array([[18.0, 17.0]])})
    propagate(slices, seeds, LOOSE)
    points = {index: one.prompts.points_xy.tolist() for index, one in slices.asked}
    assert points == {0: [], 1: [[18, 17]], 2: []}
    assert not slices.asked[1][1].prompts.positive.any()


def test_walks_meet_and_stop_at_prompted_slices():
    truth = squares([10, 12, 14, 12, 10, 10])
    slices = KnownSlices(truth)
    seeds = Seeds({index: Prompts(box_xyxy=tight_box(truth[index])) for index in (1, 4)})
    found = propagate(slices, seeds, LOOSE)
    assert list(found.slices) == [0, 1, 2, 3, 4, 5]
    assert [found.slices[index].distance_mm for index in (1, 2, 3, 4)] == [0, 5, 5, 0]
    assert [end.reason for end in found.ends] == ["edge"] * 4
    assert sum(index in (1, 4) for index, _ in slices.asked) == 2, "a prompt is asked once"


def test_the_nearer_prompt_counts_more():
    mask = np.array([[True, False]])
    near = PropagatedSlice(3, mask, np.array([[3.0, -2.0]], np.float32), 0.9, 0.8, 1.0, 5.0)
    far = PropagatedSlice(3, ~mask, np.array([[-3.0, 2.0]], np.float32), 0.6, 0.4, 1.0, 15.0)
    for met in (reconcile(near, far), reconcile(far, near)):
        # Three quarters of the near one and a quarter of the far one.
        assert met.logits.tolist() == [[1.5, -1.0]]
        assert met.mask.tolist() == [[True, False]]
        assert met.predicted_iou == pytest.approx(0.75 * 0.9 + 0.25 * 0.6)
        assert met.likeness == pytest.approx(0.7)
        assert (met.agreement, met.distance_mm, met.confidence) == (0.0, 5.0, 0.0)


def test_what_is_ready_is_returned_when_time_is_up():
    truth = squares([10] * 7)
    left = iter([True, True, False, False])
    found = propagate(KnownSlices(truth), box_on(truth, 3), LOOSE, lambda: next(left))
    assert list(found.slices) == [2, 3, 4], "walks take turns"
    assert reasons(found) == {-1: "time", 1: "time"}


class Kept(dict):
    """Remembers every step."""

    recall = dict.get
    keep = dict.__setitem__


def again(slices: KnownSlices, seeds: Seeds, kept: Kept, **more) -> tuple[Propagation, list[int]]:
    """The answer, and the slices that had to be asked for it."""
    slices.asked.clear()
    (found,) = propagate_together(slices, [seeds], LOOSE, memory=kept, **more)
    return found, [index for index, _ in slices.asked]


def same(one: Propagation, other: Propagation) -> bool:
    """Bit for bit."""
    return one.ends == other.ends and [
        (at.index, at.logits.tobytes(), at.confidence) for at in one.slices.values()
    ] == [(at.index, at.logits.tobytes(), at.confidence) for at in other.slices.values()]


def test_a_click_costs_the_slices_that_it_can_change_and_no_other():
    truth = squares([10, 12, 14, 16, 16, 14, 12, 10])
    slices, kept = KnownSlices(truth), Kept()
    boxes = {index: Prompts(box_xyxy=tight_box(truth[index])) for index in (3, 6)}
    one, asked = again(slices, Seeds({3: boxes[3]}), kept)
    assert sorted(asked) == list(range(8))
    _, asked = again(slices, Seeds({3: boxes[3]}), kept)
    assert asked == [], "all is known"
    # A second prompted slice: its own answer and its own walks; the first one's are known.
    two, asked = again(slices, Seeds(boxes), kept)
    assert sorted(asked) == [4, 5, 6, 7]
    assert not same(one, two)
    # A background click on slice 1: that slice and what comes after it, seen from slice 3.
    clicked = Seeds(boxes, {1: np.array([[20.0, 20.0]])})
    _, asked = again(slices, clicked, kept)
    assert asked == [1, 0]
    # What is deleted is gone: the answers of before, without any work.
    for seeds, before in ((Seeds(boxes), two), (Seeds({3: boxes[3]}), one)):
        back, asked = again(slices, seeds, kept)
        assert asked == []
        assert same(back, before)
    assert same(one, propagate(slices, Seeds({3: boxes[3]}), LOOSE)), "memory changes nothing"


def test_a_walk_cut_short_goes_on_where_it_stopped():
    truth = squares([10] * 7)
    slices, kept = KnownSlices(truth), Kept()
    left = iter([True, True, False, False])
    short, asked = again(slices, box_on(truth, 3), kept, go_on=lambda: next(left))
    assert (list(short.slices), asked) == ([2, 3, 4], [3, 2, 4])
    assert "time" not in kept.values()
    whole, asked = again(slices, box_on(truth, 3), kept)
    assert sorted(asked) == [0, 1, 5, 6]
    assert same(whole, propagate(slices, box_on(truth, 3), LOOSE))
    known, asked = again(slices, box_on(truth, 3), kept, go_on=lambda: False)
    assert asked == []
    assert same(known, whole), "what is known needs no time"


def test_another_rule_or_direction_is_another_step():
    truth = squares([10, 10, 10])
    slices, kept = KnownSlices(truth), Kept()
    again(slices, box_on(truth, 1), kept)
    slices.asked.clear()
    wide = replace(LOOSE, widening=1.0)
    propagate_together(slices, [box_on(truth, 1)], wide, memory=kept)
    assert sorted(index for index, _ in slices.asked) == [0, 2]


def test_structures_take_turns_and_do_not_change_each_other():
    truth = squares([10] * 9)
    left = iter([True] * 4 + [False] * 4)
    both = propagate_together(
        KnownSlices(truth),
        [box_on(truth, 2), box_on(truth, 6)],
        LOOSE,
        lambda: next(left),
    )
    assert [list(one.slices) for one in both] == [[1, 2, 3], [5, 6, 7]]
    both = propagate_together(KnownSlices(truth), [box_on(truth, 2), box_on(truth, 6)], LOOSE)
    assert same(both[0], propagate(KnownSlices(truth), box_on(truth, 2), LOOSE))


def test_an_empty_answer_to_the_prompt_is_an_empty_result():
    truth = squares([0, 0, 0])
    found = propagate(KnownSlices(truth), Seeds({1: Prompts(box_xyxy=np.array([1.0, 1, 5, 5]))}))
    assert dict(found.slices) == {}
    assert reasons(found) == {-1: "empty", 1: "empty"}
    assert found.least_certain is None


def test_refusals():
    truth = squares([10])
    with pytest.raises(PromptError, match="give a box or a positive click on at least one slice"):
        propagate(KnownSlices(truth), Seeds({}))
    with pytest.raises(GeometryError, match="Prompted slice 4 does not exist.*slices 0 to 0"):
        propagate(KnownSlices(truth), Seeds({4: Prompts(box_xyxy=np.zeros(4))}))
    with pytest.raises(ConfigError, match=r"least_overlap 1.5 must be in \[0, 1\)"):
        PropagationRule(least_overlap=1.5)
    with pytest.raises(ConfigError, match="looks 0 must be at least 1"):
        PropagationRule(looks=0)
    with pytest.raises(ConfigError, match="largest_ratio 1.0 must be above 1"):
        PropagationRule(largest_ratio=1.0)


@pytest.fixture(scope="module")
def phantom():
    return abdomen_phantom(3, (96, 80, 24), (4.0, 4.0, 8.0))


@pytest.fixture(scope="module")
def segmenter():
    return SliceSegmenter(load_sam("tiny"))


def phantom_slices(phantom, segmenter, plane, **changes) -> VolumeSlices:
    window = PRESETS["abdomen"].resolve(phantom.volume)
    return VolumeSlices(phantom.volume, plane, window, segmenter, EmbeddingService(), **changes)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_box_finds_the_phantoms_liver_along_any_axis(phantom, segmenter, axis):
    plane = plane_across(phantom.volume.affine, axis)
    truth = phantom.truth.mask("liver")
    voxels = np.argwhere(truth)
    middle = int(np.median(voxels[:, axis]))
    here = voxels[voxels[:, axis] == middle]
    target = ObjectPrompts("liver", box_ijk=np.stack([here.min(0), here.max(0)]))
    slices = phantom_slices(phantom, segmenter, plane)
    assert isinstance(slices, AnsweringSlices)
    found = propagate(slices, Seeds.of(target, phantom.volume, plane))
    values = {index: mask.astype(np.uint8) for index, mask in found.masks.items()}
    map_ = stack_masks(values, plane, phantom.volume, {1: "liver"})
    alone = np.zeros_like(truth)
    on_one = plane.picture(alone, middle)
    on_one[...] = plane.picture(truth, middle)
    assert dice(map_.mask("liver"), truth) > 0.6 > dice(alone, truth)


def test_seeds_of_an_object(phantom):
    plane = acquired_plane(phantom.volume.affine)
    target = ObjectPrompts(
        "liver",
        points_ijk=np.array([[10, 10, 4], [20, 10, 6], [20, 12, 6]]),
        positive=np.array([True, False, False]),
    )
    seeds = Seeds.of(target, phantom.volume, plane)
    assert (list(seeds.prompts), list(seeds.negative_xy)) == ([4], [6])
    assert len(seeds.negative_xy[6]) == 2
    far = ObjectPrompts("liver", np.array([[0, 0, 99]]), np.array([True]))
    with pytest.raises(PromptError, match="lies outside the image"):
        Seeds.of(far, phantom.volume, plane)


def test_a_mask_is_shown_on_the_next_slices_own_frame(phantom, segmenter):
    slices = phantom_slices(phantom, segmenter, acquired_plane(phantom.volume.affine))
    mask = slices.plane.picture(phantom.truth.mask("liver"), 12)
    box = Prompts(box_xyxy=tight_box(mask))
    plain, shown, empty = slices.answer(
        12, [Question(box), Question(box, mask), Question(box, np.zeros_like(mask))]
    )
    assert not np.array_equal(plain.logits, shown.logits)
    assert dice(shown.mask, mask) > dice(empty.mask, mask)
