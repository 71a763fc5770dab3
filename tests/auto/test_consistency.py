"""3D consistency, on arrays whose answers are known by hand."""

import numpy as np
from cobot.auto.consistency import ConsistencyRule, consistent, filled, largest_parts, part_count


def square(stack: np.ndarray, index: int, first: int, last: int, value: int = 1) -> None:
    stack[index, first : last + 1, first : last + 1] = value


def test_a_lone_gap_is_filled_with_a_shape_between_its_neighbours():
    stack = np.zeros((5, 15, 15), bool)
    square(stack, 1, 5, 9, True)
    square(stack, 3, 3, 11, True)
    whole = filled(stack, 2)
    assert whole[2, 4:11, 4:11][1:-1, 1:-1].all()
    assert stack[1].sum() < whole[2].sum() < stack[3].sum()
    assert not whole[[0, 4]].any()
    np.testing.assert_array_equal(whole[[1, 3]], stack[[1, 3]])


def test_a_longer_gap_stays():
    stack = np.zeros((6, 9, 9), bool)
    square(stack, 0, 2, 6, True)
    square(stack, 4, 2, 6, True)
    assert not filled(stack, 2)[1:4].any()
    assert filled(stack, 3)[1:4].any(axis=(1, 2)).all()


def test_the_largest_parts_stay_up_to_the_expected_number():
    mask = np.zeros((3, 12, 12), bool)
    mask[:, 0:4, 0:4] = True  # 48 voxels
    mask[:, 6:9, 6:9] = True  # 27
    mask[0, 11, 0:2] = True  # 2
    assert largest_parts(mask, 1, 0.2).sum() == 48
    assert largest_parts(mask, 2, 0.2).sum() == 75
    assert largest_parts(mask, 3, 0.2).sum() == 75, "specks are no part"
    assert part_count(mask) == 2
    assert part_count(mask & False) == 0


def test_a_filled_voxel_never_takes_another_label():
    stack = np.zeros((3, 9, 9), np.uint16)
    square(stack, 0, 2, 6, 1)
    square(stack, 2, 2, 6, 1)
    stack[1, 4, :] = 2
    found = consistent(stack, {1: 1, 2: 1})
    assert (found[1, 4] == 2).all()
    assert (found[1] == 1).any()


def test_each_label_keeps_as_many_parts_as_it_has():
    stack = np.zeros((2, 12, 12), np.uint16)
    for value in (1, 2):
        stack[:, 0:4, 4 * value : 4 * value + 3] = value
        stack[:, 7:10, 4 * value : 4 * value + 3] = value
    found = consistent(stack, {1: 2}, ConsistencyRule(least_share=0.1))
    assert (found == 1).sum() == (stack == 1).sum()
    assert (found[:, 7:10] == 2).sum() == 0
    assert (found[:, 0:4] == 2).sum() == (stack[:, 0:4] == 2).sum()


def test_nothing_found_stays_nothing():
    assert not consistent(np.zeros((2, 4, 4), np.uint16), {1: 1}).any()
