"""Affines: answers known by hand, and agreement with nibabel."""

import nibabel as nib
import numpy as np
import pytest
from cobot.errors import GeometryError
from cobot.geometry import (
    acquired_axis,
    axis_codes,
    check_affine,
    ijk_from_ras,
    patient_axes,
    ras_from_ijk,
    spacing_mm,
)
from hypothesis import given
from hypothesis import strategies as st

TURN_45 = np.array([[1, -1, 0, 0], [1, 1, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])
degrees = st.floats(-25, 25)
spacings = st.tuples(*[st.floats(0.1, 10)] * 3)


def rotation(x, y, z):
    """Return the rotation about x, then y, then z, in degrees."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians([x, y, z])), np.sin(np.radians([x, y, z]))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def affine_of(axes, spacing=(1, 1, 1), origin=(0, 0, 0)):
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(axes, float) * spacing
    affine[:3, 3] = origin
    return affine


@given(st.permutations(range(3)), st.tuples(*[st.sampled_from([-1, 1])] * 3), spacings)
def test_axis_codes_of_all_48_orders(order, signs, spacing):
    axes = np.eye(3)[:, order] * signs
    affine = affine_of(axes, spacing)
    expected = "".join(
        ("LPI", "RAS")[sign > 0][ras] for ras, sign in zip(order, signs, strict=True)
    )
    assert axis_codes(affine) == expected
    assert patient_axes(affine) == tuple(zip(order, signs, strict=True))


@given(st.permutations(range(3)), st.tuples(*[st.sampled_from([-1, 1])] * 3), degrees, degrees)
def test_axis_codes_agree_with_nibabel_when_oblique(order, signs, x, y):
    affine = affine_of(rotation(x, y, 0) @ np.eye(3)[:, order] * signs, (1, 2, 3))
    assert tuple(axis_codes(affine)) == nib.aff2axcodes(affine)


def test_every_patient_axis_is_used_once_even_when_sheared():
    sheared = affine_of([[1, 0.9, 0.8], [0, 0.5, 0.1], [0, 0, 0.6]])
    assert sorted(ras for ras, _ in patient_axes(sheared)) == [0, 1, 2]
    assert axis_codes(sheared) == "RAS"


@pytest.mark.parametrize(
    ("affine", "expected"),
    [
        (affine_of(np.eye(3), (1, 1, 5)), 2),
        (affine_of(np.eye(3), (5, 1, 1)), 0),
        (affine_of(np.eye(3), (1, 5, 1)), 1),
        (affine_of(np.eye(3)), 2),
        (affine_of(np.eye(3), (2, 2, 1)), 1),
        (affine_of(np.eye(3)[:, [2, 0, 1]]), 0),
        (affine_of(np.eye(3)[:, [1, 2, 0]] * [-1, -1, 1]), 1),
        (affine_of(np.eye(3), (1.005, 1, 1)), 2),
        (affine_of(np.eye(3), (1.02, 1, 1)), 0),
        (TURN_45, 2),
    ],
    ids=[
        *("axial", "sagittal", "coronal", "isotropic takes head-foot", "then front-back"),
        *("head-foot stored first", "head-foot stored second", "0.5 % is rounding"),
        *("2 % is not", "turned by 45 degrees"),
    ],
)
def test_acquired_axis(affine, expected):
    assert acquired_axis(affine) == expected


def test_spacing_of_a_turned_grid():
    np.testing.assert_allclose(spacing_mm(TURN_45), [np.sqrt(2), np.sqrt(2), 3])


def test_positions_by_hand():
    affine = affine_of([[0, -2, 0], [3, 0, 0], [0, 0, 5]], origin=(10, 20, 30))
    ijk = np.array([[0, 0, 0], [1, 2, 3]])
    np.testing.assert_array_equal(ras_from_ijk(affine, ijk), [[10, 20, 30], [6, 23, 45]])


@given(degrees, degrees, degrees, spacings, st.tuples(*[st.integers(-500, 500)] * 3))
def test_positions_and_back(x, y, z, spacing, ijk):
    affine = affine_of(rotation(x, y, z), spacing, (7, -8, 9))
    points = np.array([ijk])
    np.testing.assert_allclose(
        ijk_from_ras(affine, ras_from_ijk(affine, points)), points, atol=1e-8
    )


def test_no_points():
    assert ras_from_ijk(np.eye(4), np.empty((0, 3))).shape == (0, 3)


BAD = {
    "shape": (np.eye(3), r"must be 4x4, got shape \(3, 3\)"),
    "NaN": (np.diag([1, np.nan, 1, 1]), "NaN or infinity; write the image's geometry again"),
    "last row": (np.diag([1.0, 1, 1, 2]), r"last row must be 0 0 0 1, got \[0.0, 0.0, 0.0, 2.0\]"),
    "zero spacing": (np.diag([1.0, 0, 1, 1]), "singular .* Convert the image again"),
    "parallel axes": (affine_of([[1, 1, 0], [1, 1, 0], [0, 0, 1]]), "singular"),
}


@pytest.mark.parametrize("fault", BAD)
def test_affines_that_place_nothing(fault):
    affine, message = BAD[fault]
    with pytest.raises(GeometryError, match=message):
        check_affine(affine)


def test_good_affine_becomes_float64():
    checked = check_affine(TURN_45.astype(np.float32))
    assert checked.dtype == np.float64
    assert np.array_equal(checked, TURN_45)


def test_smallest_voxel():
    assert check_affine(np.diag([1.1e-3, 1e-3, 1e-3, 1.0])).shape == (4, 4)
    with pytest.raises(GeometryError, match="singular"):
        check_affine(np.diag([0.9e-3, 1e-3, 1e-3, 1.0]))
