"""k-center on points whose distances are known by hand."""

import numpy as np
from cobot.selection.diversity import distances, k_center, novelty, volume_vector
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

LINE = np.array([[0.0], [1.0], [4.0], [10.0], [11.0]])
NOTHING = np.empty((0, 1))


def test_k_center_on_a_line():
    # From 0: the farthest is 11; then of 1, 4, 10 (distances 1, 4, 1) it is 4; then 1, then 10.
    assert k_center(LINE, LINE[:1], 5)[:2] == [4, 2]
    assert k_center(LINE, LINE[:1], 4) == [4, 2, 1, 3]


def test_without_a_beginning_the_typical_case_comes_first():
    # The mean is 5.2, so 4 is nearest; then 11 (7 away), then 0.
    assert k_center(LINE, NOTHING, 3) == [2, 4, 0]


def test_no_more_are_taken_than_there_are_and_equal_ones_in_order():
    same = np.zeros((3, 2))
    assert k_center(same, same[:1], 9) == [0, 1, 2]


def test_distances_of_a_triangle():
    points = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert distances(points, points).tolist() == [[0, 5], [5, 0]]
    assert novelty(points, points[:1]).tolist() == [0, 5]


def test_a_volume_is_the_mean_and_spread_of_its_slices():
    vector = volume_vector([np.array([1, 5], np.float32), np.array([3, 5], np.float32)])
    assert vector.tolist() == [2, 5, 1, 0]


@given(arrays(np.float64, (6, 3), elements=st.integers(-50, 50).map(float)))
def test_every_case_is_taken_once_and_the_gaps_never_grow(points):
    order = k_center(points, points[:1], 6)
    assert sorted(order) == list(range(6))
    gaps = [novelty(points[[at]], points[[0, *order[:rank]]])[0] for rank, at in enumerate(order)]
    assert all(a >= b - 1e-6 for a, b in zip(gaps, gaps[1:], strict=False))
