"""Measures of one structure against numbers worked out by hand."""

import numpy as np
import pytest
from cobot.measures.mask_scores import Presence, score_masks

SIDE = 10


def cube(start: tuple[int, int, int], shape: tuple[int, int, int] = (24, 20, 20)) -> np.ndarray:
    """Return a cube of ten voxels a side."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(low, low + SIDE) for low in start)] = True
    return mask


def grid(*spacing_mm: float) -> np.ndarray:
    """Return the affine of a straight grid."""
    return np.diag([*spacing_mm, 1.0])


def test_equal_masks_are_perfect():
    one = score_masks(cube((5, 5, 5)), cube((5, 5, 5)), grid(1, 1, 1), 0.0)
    assert (one.dice, one.surface_dice, one.hd95_mm) == (1.0, 1.0, 0.0)
    assert (one.volume_error_ml, one.volume_error_percent) == (0.0, 0.0)
    assert one.presence is Presence.BOTH


def test_a_cube_shifted_by_one_voxel():
    one = score_masks(cube((6, 5, 5)), cube((5, 5, 5)), grid(1, 1, 1), 0.0)
    # Nine of ten layers are common.
    assert one.dice == pytest.approx(0.9)
    assert one.hd95_mm == pytest.approx(1.0)
    # Surface lies between voxels: of a cube 11 x 11 x 11 pieces, 1 on a face, sqrt(2)/2 on an edge
    # and sqrt(3)/8 at a corner. Common are nine rings around the sides (36 faces and 4 edges each)
    # and the rim of one cap (36 edges and 4 corners), seen from either mask.
    edge, corner = np.sqrt(2) / 2, np.sqrt(3) / 8
    whole = 6 * 81 + 12 * 9 * edge + 8 * corner
    common = 9 * (36 + 4 * edge) + 36 * edge + 4 * corner
    assert one.surface_dice == pytest.approx(common / whole, abs=1e-5)
    assert score_masks(cube((6, 5, 5)), cube((5, 5, 5)), grid(1, 1, 1), 1.0).surface_dice == 1.0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_distances_are_in_millimetres_along_each_axis(axis):
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 3.0
    start = [5, 5, 5]
    start[axis] = 6
    moved, still = cube(tuple(start)), cube((5, 5, 5))
    one = score_masks(moved, still, grid(*spacing), 2.9)
    assert one.hd95_mm == pytest.approx(3.0)
    assert one.surface_dice < 0.95
    assert score_masks(moved, still, grid(*spacing), 3.0).surface_dice == pytest.approx(1.0)
    assert one.prediction_ml == pytest.approx(1000 * 3 / 1000)


def test_a_shift_across_the_fine_axis_does_not_see_the_coarse_one():
    one = score_masks(cube((5, 6, 5)), cube((5, 5, 5)), grid(3, 1, 1), 1.0)
    assert one.hd95_mm == pytest.approx(1.0)
    assert one.surface_dice == pytest.approx(1.0)


def test_volume_errors_have_a_sign():
    half = cube((5, 5, 5))
    half[10:] = False
    affine = grid(1, 2, 3)
    less = score_masks(half, cube((5, 5, 5)), affine, 1.0)
    assert less.truth_ml == pytest.approx(6.0)
    assert less.volume_error_ml == pytest.approx(-3.0)
    assert less.absolute_volume_error_ml == pytest.approx(3.0)
    assert less.volume_error_percent == pytest.approx(-50.0)
    more = score_masks(cube((5, 5, 5)), half, affine, 1.0)
    assert more.volume_error_percent == pytest.approx(100.0)


def test_a_turned_grid_has_the_same_numbers():
    turn = np.eye(4)
    turn[:2, :2] = [[0.6, -0.8], [0.8, 0.6]]
    straight = score_masks(cube((6, 5, 5)), cube((5, 5, 5)), grid(2, 1, 1), 1.0)
    turned = score_masks(cube((6, 5, 5)), cube((5, 5, 5)), turn @ grid(2, 1, 1), 1.0)
    assert turned.hd95_mm == pytest.approx(straight.hd95_mm) == pytest.approx(2.0)
    assert turned.surface_dice == pytest.approx(straight.surface_dice)
    assert turned.truth_ml == pytest.approx(2.0)


def test_masks_at_the_edge_of_the_volume_have_a_surface_there():
    one = score_masks(
        cube((0, 0, 0), (11, 10, 10)), cube((1, 0, 0), (11, 10, 10)), grid(1, 1, 1), 0.0
    )
    inside = score_masks(cube((5, 5, 5)), cube((6, 5, 5)), grid(1, 1, 1), 0.0)
    assert one == inside


def test_empty_masks_have_stated_values():
    empty, full = np.zeros((24, 20, 20), bool), cube((5, 5, 5))
    neither = score_masks(empty, empty, grid(1, 1, 1), 1.0)
    assert neither.presence is Presence.NEITHER
    assert (neither.dice, neither.surface_dice, neither.hd95_mm) == (None, None, None)
    assert (neither.volume_error_ml, neither.volume_error_percent) == (None, None)
    assert neither.absolute_volume_error_ml is None

    diagonal = np.sqrt((23 * 2) ** 2 + 19**2 + 19**2)
    missed = score_masks(empty, full, grid(2, 1, 1), 1.0)
    assert missed.presence is Presence.ONLY_TRUTH
    assert (missed.dice, missed.surface_dice) == (0.0, 0.0)
    assert missed.hd95_mm == pytest.approx(diagonal)
    assert missed.volume_error_percent == pytest.approx(-100.0)

    invented = score_masks(full, empty, grid(2, 1, 1), 1.0)
    assert invented.presence is Presence.ONLY_PREDICTION
    assert (invented.dice, invented.surface_dice) == (0.0, 0.0)
    assert invented.hd95_mm == pytest.approx(diagonal)
    assert (invented.volume_error_ml, invented.volume_error_percent) == (2.0, None)
