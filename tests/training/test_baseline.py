"""Ellipses and discs whose areas are known."""

import numpy as np
import pytest
from cobot.training.baseline import disc_at_click, ellipse_in_box, ellipsoid_in_box
from cobot.training.evaluate import dice


def box(*corners):
    return np.array(corners, np.float64)


def test_an_ellipse_covers_pi_quarters_of_its_box():
    ellipse = ellipse_in_box(box(10, 20, 109, 219), (300, 200))
    assert ellipse.sum() / (100 * 200) == pytest.approx(np.pi / 4, abs=2e-3)
    rows, cols = np.nonzero(ellipse)
    assert (cols.min(), rows.min(), cols.max(), rows.max()) == (10, 20, 109, 219)


def test_an_ellipse_against_its_full_box_has_the_dice_known_by_hand():
    truth = np.zeros((128, 128), bool)
    truth[14:114, 14:114] = True
    quarter = np.pi / 4
    expected = 2 * quarter / (1 + quarter)
    assert dice(ellipse_in_box(box(14, 14, 113, 113), (128, 128)), truth) == pytest.approx(
        expected, abs=2e-3
    )


def test_a_box_of_one_pixel_is_that_pixel():
    ellipse = ellipse_in_box(box(3, 1, 3, 1), (4, 6))
    assert np.argwhere(ellipse).tolist() == [[1, 3]]


def test_a_box_over_the_edge_is_cut_off():
    ellipse = ellipse_in_box(box(-5, -5, 4, 4), (10, 10))
    assert ellipse[0, 0]
    assert not ellipse[5:, :].any()


def test_an_ellipsoid_covers_pi_sixths_of_its_box():
    ellipsoid = ellipsoid_in_box(np.array([[2, 3, 4], [41, 52, 33]]), (60, 60, 40))
    assert ellipsoid.sum() / (40 * 50 * 30) == pytest.approx(np.pi / 6, abs=2e-3)


def test_an_ellipsoid_one_voxel_thick_is_the_ellipse():
    ellipsoid = ellipsoid_in_box(np.array([[2, 3, 5], [21, 12, 5]]), (30, 30, 9))
    assert np.array_equal(ellipsoid[:, :, 5], ellipse_in_box(box(3, 2, 12, 21), (30, 30)))
    assert not np.delete(ellipsoid, 5, axis=2).any()


def test_a_disc_is_round_in_millimetres():
    disc = disc_at_click(np.array([30.0, 20.0]), 10.0, (2.0, 1.0), (40, 60))
    rows, cols = np.nonzero(disc)
    assert (rows.min(), rows.max()) == (15, 25)
    assert (cols.min(), cols.max()) == (20, 40)
    assert disc.sum() * 2.0 == pytest.approx(np.pi * 100, rel=0.03)


def test_a_disc_of_radius_zero_is_the_clicked_pixel():
    disc = disc_at_click(np.array([2, 1]), 0.0, (1.0, 1.0), (3, 4))
    assert np.argwhere(disc).tolist() == [[1, 2]]
