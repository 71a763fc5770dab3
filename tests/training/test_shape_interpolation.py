"""Shapes between slices against what can be drawn by hand."""

import numpy as np
from cobot.training.shape_interpolation import interpolate_shapes


def square(side: int, size: int = 31) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    low = (size - side) // 2
    mask[low : low + side, low : low + side] = True
    return mask


def test_equal_ends_are_carried_over_exactly():
    filled = interpolate_shapes({2: square(9), 6: square(9)}, (1.0, 2.0))
    assert sorted(filled) == [2, 3, 4, 5, 6]
    assert all(np.array_equal(mask, square(9)) for mask in filled.values())


def test_between_a_small_and_a_large_square_lies_a_middle_one():
    filled = interpolate_shapes({0: square(5), 1: square(5), 5: square(13)}, (1.0, 1.0))
    middle = filled[3]
    sides = middle.any(axis=1).sum(), middle.any(axis=0).sum()
    assert sides == (9, 9)
    areas = [int(filled[index].sum()) for index in range(1, 6)]
    assert areas == sorted(areas)


def test_nothing_is_added_outside_and_annotated_slices_stay():
    empty = np.zeros((31, 31), bool)
    filled = interpolate_shapes({3: square(7), 4: empty, 5: square(7)}, (1.0, 1.0))
    assert sorted(filled) == [3, 4, 5]
    assert not filled[4].any(), "somebody said that it is empty"
    assert sorted(interpolate_shapes({3: square(7)}, (1.0, 1.0))) == [3]
    assert interpolate_shapes({}, (1.0, 1.0)) == {}
