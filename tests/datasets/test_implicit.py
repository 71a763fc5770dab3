"""Signed distances known by hand."""

import numpy as np
import pytest
from cobot.datasets.implicit import carve, ellipsoid, merge, oval, random_waves, tube, turn_about


def at(*places):
    return np.array(places, np.float32).T.reshape(3, -1, 1, 1)


def test_a_sphere_measures_the_distance_to_its_surface():
    distance = ellipsoid(at((3, 0, 0), (0, 7, 0), (0, 0, 5)), (0, 0, 0), (5, 5, 5))
    assert distance.ravel() == pytest.approx([-2, 2, 0], abs=1e-5)


def test_a_turned_ellipsoid_points_the_other_way():
    turn = turn_about(2, 90.0)
    distance = ellipsoid(at((0, 9, 0), (9, 0, 0)), (0, 0, 0), (10, 2, 2), turn).ravel()
    assert distance[0] < 0 < distance[1]


def test_a_tube_is_a_capsule_whose_radius_changes_evenly():
    distance = tube(at((5, 4, 0), (0, 4, 0), (-3, 0, 0)), ((0, 0, 0), (10, 0, 0)), (1, 3)).ravel()
    assert distance == pytest.approx([2, 3, 2], abs=1e-5)


@pytest.mark.parametrize("squareness", [0, 1])
def test_an_oval_ends_at_its_radii(squareness):
    distance = oval(at((20, 0, 50), (0, -8, 0), (10, 0, 0)), (0, 0), (20, 8), squareness).ravel()
    assert distance == pytest.approx([0, 0, -10], abs=1e-4)


def test_squareness_fills_the_corners():
    corner = at((0.8, 0.8, 0))
    assert oval(corner, (0, 0), (1, 1), 0) > 0 > oval(corner, (0, 0), (1, 1), 1)


def test_merge_and_carve_far_from_the_seam_are_union_and_difference():
    first, second = np.float32([[-5, 4, 9]]), np.float32([[20, -9, 30]])
    assert merge(first, second, 2).tolist() == [[-5, -9, 9]]
    assert carve(first, second, 2).tolist() == [[-5, 9, 9]]


def test_waves_have_about_the_size_asked_for():
    rng = np.random.default_rng(0)
    points = rng.uniform(-300, 300, (3, 4000, 1, 1)).astype(np.float32)
    fields = [random_waves(rng, 3, (20, 60))(points).std() for _ in range(40)]
    assert np.mean(fields) == pytest.approx(3, rel=0.3)
