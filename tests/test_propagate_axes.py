"""Three axes fused, by a model that knows the truth of a volume whose voxels differ in size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from cobot.errors import PromptError
from cobot.geometry import check_affine
from cobot.planes import Plane, plane_across
from cobot.prompts import Prompts, tight_box
from cobot.propagate import Seeds
from cobot.propagate_axes import crossing_boxes, propagate_three_axes
from cobot.propagate_rule import PropagationRule
from cobot.propagate_slices import Question
from cobot.sam.answer import SliceMask
from cobot.volume import Volume

LOOSE = PropagationRule(least_overlap=0.01, largest_ratio=50.0, smallest_share=0.0)
# Flipped and permuted axes, so that no plane is the array as it lies.
AFFINE = check_affine(
    np.array([[0.0, 2.0, 0.0, 1.0], [-1.5, 0.0, 0.0, 2.0], [0.0, 0.0, -3.0, 3.0], [0, 0, 0, 1]])
)


@dataclass(frozen=True)
class Known:
    """Answers a box with what lies in it, as one axis sees it."""

    seen: np.ndarray
    plane: Plane
    step_mm: float = 2.0
    pixel_mm: tuple[float, float] = (1.0, 1.0)

    @property
    def count(self) -> int:
        return self.seen.shape[self.plane.axis]

    def picture(self, index: int) -> np.ndarray:
        return np.full(self.plane.picture(self.seen, index).shape, 0.5, np.float32)

    def answer(self, index: int, questions: Sequence[Question]) -> list[SliceMask]:
        return [self._one(index, one.prompts) for one in questions]

    def _one(self, index: int, prompts: Prompts) -> SliceMask:
        x0, y0, x1, y1 = prompts.box_xyxy.astype(int)
        seen = self.plane.picture(self.seen, index)
        mask = np.zeros(seen.shape, bool)
        mask[y0 : y1 + 1, x0 : x1 + 1] = seen[y0 : y1 + 1, x0 : x1 + 1]
        logits = np.where(mask, 9.0, -9.0).astype(np.float32)
        return SliceMask(mask, logits, logits, 0.9)


@pytest.fixture
def block() -> np.ndarray:
    truth = np.zeros((20, 24, 16), bool)
    truth[4:14, 6:18, 3:12] = True
    return truth


def fused(see: Callable[[int], np.ndarray], truth: np.ndarray, axis: int):
    volume = Volume(truth.astype(np.int16), AFFINE)
    plane = plane_across(AFFINE, axis)
    middle = truth.shape[axis] // 2
    seeds = Seeds({middle: Prompts(box_xyxy=tight_box(plane.picture(truth, middle)))})

    def cut(one: Plane) -> Known:
        return Known(see(one.axis), one)

    return propagate_three_axes(cut, volume, plane, seeds, LOOSE)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_three_axes_that_agree_give_the_structure_voxel_for_voxel(block, axis):
    found = fused(lambda _: block, block, axis)
    assert set(found.along) == {0, 1, 2}
    np.testing.assert_array_equal(found.mask, block)


@pytest.mark.parametrize("wrong", [0, 1])
def test_two_axes_outvote_the_third(block, wrong):
    hole = block.copy()
    hole[6:9, 8:12, 5:8] = False
    found = fused(lambda axis: hole if axis == wrong else block, block, axis=2)
    np.testing.assert_array_equal(found.mask, block)
    found = fused(lambda axis: block if axis == wrong else hole, block, axis=2)
    np.testing.assert_array_equal(found.mask, hole)


def test_where_nothing_is_found_no_other_axis_is_asked(block):
    found = fused(lambda _: np.zeros_like(block), block, axis=1)
    assert set(found.along) == {1}
    assert not found.mask.any()


def test_boxes_lie_on_slices_with_equal_shares_between_them(block):
    plane = plane_across(AFFINE, 1)
    seeds = crossing_boxes(block, plane)
    assert sorted(seeds.prompts) == [7, 11, 15]
    for index, one in seeds.prompts.items():
        np.testing.assert_array_equal(one.box_xyxy, tight_box(plane.picture(block, index)))
    one_slice = np.zeros_like(block)
    one_slice[3, 4, 5] = True
    assert list(crossing_boxes(one_slice, plane).prompts) == [4]


def test_the_largest_part_is_boxed(block):
    twins = block.copy()
    twins[4:14, 10:12, :] = False
    plane = plane_across(AFFINE, 2)
    (box, *_) = [one.box_xyxy for one in crossing_boxes(twins, plane).prompts.values()]
    larger = np.zeros_like(block)
    larger[4:14, 12:18, 3:12] = True
    np.testing.assert_array_equal(box, tight_box(plane.picture(larger, 5)))


def test_nothing_to_begin_with_is_refused(block):
    volume = Volume(block.astype(np.int16), AFFINE)
    plane = plane_across(AFFINE, 2)
    with pytest.raises(PromptError, match="Nothing to propagate"):
        propagate_three_axes(lambda one: Known(block, one), volume, plane, Seeds({}), LOOSE)
