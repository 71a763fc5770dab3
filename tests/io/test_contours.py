"""Outlines give every pixel back, whatever way a reader fills them."""

import cv2
import numpy as np
import pytest
from cobot.io.contours import outlines
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.path import Path as Polygon

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))
RING = np.ones((7, 9), bool)
RING[2:5, 3:6] = False


def centres_inside(corners, shape):
    rows, cols = np.indices(shape)
    inside = Polygon(corners).contains_points(np.column_stack([cols.ravel(), rows.ravel()]))
    return inside.reshape(shape)


def by_even_odd(mask):
    filled = np.zeros_like(mask)
    for corners in outlines(mask):
        filled ^= centres_inside(corners, mask.shape)
    return filled


def by_union(mask):
    filled = np.zeros_like(mask)
    for corners in outlines(mask):
        filled |= centres_inside(corners, mask.shape)
    return filled


def by_rounded_corners(mask):
    """As rt-utils reads: corners to the nearest pixel, filled with their border."""
    filled = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(filled, [np.around(corners).astype(np.int32) for corners in outlines(mask)], 1)
    return filled.astype(bool)


@pytest.mark.parametrize("reader", [by_even_odd, by_union, by_rounded_corners])
@given(mask=MASKS)
def test_every_reader_gets_the_mask(reader, mask):
    np.testing.assert_array_equal(reader(mask), mask)


@given(mask=MASKS, moved=st.floats(-0.2, 0.2))
def test_a_fifth_of_a_pixel_of_rounding_changes_nothing(mask, moved):
    filled = np.zeros_like(mask)
    for corners in outlines(mask):
        filled |= centres_inside(corners + (moved, -moved), mask.shape)
    np.testing.assert_array_equal(filled, mask)


def test_a_pixel_is_a_diamond():
    (corners,) = outlines(np.ones((1, 1), bool))
    assert sorted(corners.tolist()) == [[-0.48, 0], [0, -0.48], [0, 0.48], [0.48, 0]]


def test_a_hole_cuts_its_ring_in_two_and_no_outline_lies_in_another():
    found = list(outlines(RING))
    assert len(found) == 2
    assert not centres_inside(found[0], RING.shape)[np.nonzero(by_union(RING))].all()
    np.testing.assert_array_equal(by_union(RING), RING)


def test_holes_side_by_side_need_one_cut():
    mask = np.ones((5, 11), bool)
    mask[2, [2, 5, 8]] = False
    assert len(list(outlines(mask))) == 2


def test_straight_edges_have_no_corners_between():
    assert [len(corners) for corners in outlines(np.ones((20, 30), bool))] == [8]


def test_area_is_that_of_the_pixels_but_for_the_corners():
    """Large structures keep their volume: 0.02 pixels are lost at each edge, and the corners."""
    rows, cols = np.indices((101, 101))
    disc = (rows - 50) ** 2 + (cols - 50) ** 2 < 45**2
    (corners,) = outlines(disc)
    x, y = corners.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert area / disc.sum() == pytest.approx(1, abs=0.01)


def test_nothing_has_no_outline():
    assert list(outlines(np.zeros((3, 3), bool))) == []
