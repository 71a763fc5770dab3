"""Pictures are views in the radiologist's orientation, and points land on their voxels."""

from itertools import permutations, product

import numpy as np
import pytest
from cobot.errors import GeometryError, PromptError
from cobot.geometry import patient_axes, ras_from_ijk
from cobot.planes import acquired_plane, plane_across
from cobot.slicing import cut_slice
from cobot.volume import Volume
from hypothesis import given
from hypothesis import strategies as st

ORDERS = [
    (order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]
CLOSE_TO_RAS = np.array(
    [[0.95, 0.15, -0.2, 3], [-0.1, 1.9, 0.4, 4], [0.25, -0.3, 4.8, 5], [0, 0, 0, 1]]
)
"""Oblique, sheared and anisotropic, with every voxel axis near its own patient axis."""


def stored(volume: Volume, order, signs) -> Volume:
    """Return the same image, every voxel in its place, stored in another axis order.

    New axis n runs along old axis order[n], backwards where signs[n] is -1.
    """
    voxels = volume.voxels.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    old_from_new = np.zeros((4, 4))
    old_from_new[3, 3] = 1
    for new, (old, sign) in enumerate(zip(order, signs, strict=True)):
        old_from_new[old, new] = sign
        old_from_new[old, 3] = 0 if sign > 0 else volume.shape[old] - 1
    return Volume(voxels, volume.affine @ old_from_new)


@st.composite
def volumes(draw) -> Volume:
    """Any small volume: 48 orders, oblique, sheared, anisotropic, axes of one voxel."""
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    base = CLOSE_TO_RAS @ np.diag([*draw(st.tuples(*[st.floats(0.2, 8)] * 3)), 1])
    return stored(Volume(np.arange(np.prod(shape)).reshape(shape), base), *draw(orders))


orders = st.sampled_from(ORDERS)
axes = st.sampled_from([0, 1, 2])


def test_there_are_48_orders():
    volume = Volume(np.zeros((2, 3, 4)), np.diag([1.0, 2, 3, 1]))
    assert len({stored(volume, *order).affine.tobytes() for order in ORDERS}) == 48


def test_storing_otherwise_moves_no_voxel():
    """Check the helper: a voxel of a given value stays at its place in the patient."""
    volume = Volume(np.arange(24).reshape(2, 3, 4), CLOSE_TO_RAS)
    for order in ORDERS:
        other = stored(volume, *order)
        for value in (0, 7, 23):
            places = [
                ras_from_ijk(v.affine, np.argwhere(v.voxels == value)) for v in (volume, other)
            ]
            np.testing.assert_allclose(*places, atol=1e-12)


@given(volumes(), axes, st.data())
def test_a_voxel_lands_on_the_pixel_that_holds_it(volume, axis, data):
    ijk = np.array([[data.draw(st.integers(0, length - 1)) for length in volume.shape]])
    picture = cut_slice(volume, plane_across(volume.affine, axis), int(ijk[0, axis]))
    ((x, y),) = picture.xy_from_ijk(ijk).astype(int)
    assert picture.pixels[y, x] == volume.voxels[tuple(ijk[0])]
    np.testing.assert_array_equal(picture.ijk_from_xy(np.array([[x, y]])), ijk)


@given(volumes(), axes, st.data())
def test_every_pixel_names_its_voxel(volume, axis, data):
    index = data.draw(st.integers(0, volume.shape[axis] - 1))
    picture = cut_slice(volume, plane_across(volume.affine, axis), index)
    rows, cols = picture.pixels.shape
    xy = np.array([(x, y) for y in range(rows) for x in range(cols)])
    ijk = picture.ijk_from_xy(xy)
    np.testing.assert_array_equal(volume.voxels[tuple(ijk.T)], picture.pixels.ravel())
    np.testing.assert_array_equal(picture.xy_from_ijk(ijk), xy)


@given(volumes(), axes)
def test_pictures_are_writable_views(volume, axis):
    plane = plane_across(volume.affine, axis)
    picture = plane.picture(volume.voxels, 0)
    assert np.shares_memory(picture, volume.voxels)
    picture[...] = -1
    assert (np.take(volume.voxels, 0, axis) == -1).all()


@given(volumes(), axes)
def test_spacing_is_that_of_rows_and_columns(volume, axis):
    picture = cut_slice(volume, plane_across(volume.affine, axis), 0)
    if min(picture.pixels.shape) > 1:
        ijk = picture.ijk_from_xy(np.array([[0, 0], [0, 1], [1, 0]]))
        origin, below, right = ras_from_ijk(volume.affine, ijk)
        measured = np.linalg.norm([below - origin, right - origin], axis=1)
        np.testing.assert_allclose(picture.spacing_mm, measured)


def upright(ras: np.ndarray) -> np.ndarray:
    """Turn a slice of a RAS volume into rows and columns, for any of the three planes.

    What is left of R A S has its higher axis run up the picture and its lower one to the left:
    front up and right left (axial), head up and right left (coronal), head up and front left.
    """
    return ras[::-1, ::-1].T


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("ras", [0, 1, 2], ids=["sagittal", "coronal", "axial"])
def test_the_picture_is_the_same_however_it_is_stored(order, ras):
    volume = Volume(np.arange(60).reshape(3, 4, 5), CLOSE_TO_RAS)
    other = stored(volume, *order)
    axis = [towards for towards, _ in patient_axes(other.affine)].index(ras)
    plane = plane_across(other.affine, axis)
    pictures = [plane.picture(other.voxels, n) for n in range(other.shape[axis])]
    if patient_axes(other.affine)[axis][1] < 0:
        pictures.reverse()
    for index, picture in enumerate(pictures):
        np.testing.assert_array_equal(picture, upright(np.take(volume.voxels, index, ras)))


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_the_radiologists_orientation(order):
    """Patient left on the right; front or head at the top; in sagittal pictures front left."""
    other = stored(Volume(np.zeros((3, 4, 5)), CLOSE_TO_RAS), *order)
    for axis, (ras, _) in enumerate(patient_axes(other.affine)):
        picture = cut_slice(other, plane_across(other.affine, axis), 0)
        ijk = picture.ijk_from_xy(np.array([[0, 0], [1, 0], [0, 1]]))
        corner, right, below = ras_from_ijk(other.affine, ijk)
        to_the_right, down = right - corner, below - corner
        if ras == 0:
            assert to_the_right[1] < 0, "columns to posterior"
            assert down[2] < 0, "rows to inferior"
        else:
            assert to_the_right[0] < 0, "columns to left"
            assert down[3 - ras] < 0, "rows to posterior (axial) or inferior (coronal)"


def test_axial_picture_by_hand():
    """LAS, as most NIfTI files: i already runs to the left, j must be turned over."""
    volume = Volume(np.arange(6).reshape(2, 3, 1), np.diag([-1.0, 1, 5, 1]))
    picture = acquired_plane(volume.affine).picture(volume.voxels, 0)
    np.testing.assert_array_equal(picture, [[2, 5], [1, 4], [0, 3]])


def test_acquired_plane_cuts_the_coarsest_axis():
    assert acquired_plane(np.diag([1.0, 6, 2, 1])).axis == 1


@pytest.mark.parametrize("axis", [-1, 3])
def test_no_such_axis(axis):
    with pytest.raises(GeometryError, match=rf"0 \(i\), 1 \(j\) or 2 \(k\), got {axis}"):
        plane_across(np.eye(4), axis)


@pytest.fixture
def picture():
    volume = Volume(np.zeros((2, 3, 4)), np.eye(4))
    return cut_slice(volume, plane_across(volume.affine, 2), 1)


@pytest.mark.parametrize("ijk", [[0, 0, 0], [0, 0, 2], [2, 0, 1], [0, 3, 1], [-1, 0, 1]])
def test_points_off_the_slice(picture, ijk):
    with pytest.raises(PromptError, match=r"not on slice 1 of voxel axis k \(3 rows, 2 columns\)"):
        picture.xy_from_ijk(np.array([[0, 0, 1], ijk]))
    assert picture.xy_from_ijk(np.array([[1, 2, 1]])).tolist() == [[0, 0]]


@pytest.mark.parametrize("xy", [[-0.6, 0], [1.6, 0], [0, 2.6], [0, -1], [np.nan, 0]])
def test_points_off_the_picture(picture, xy):
    with pytest.raises(PromptError, match="outside the picture .*x runs to 1, y to 2"):
        picture.ijk_from_xy(np.array([[0, 0], xy]))


def test_a_pixel_reaches_half_a_pixel_around_its_centre(picture):
    near = np.array([[-0.4, 2.4], [1.4, -0.4]])
    assert picture.ijk_from_xy(near).tolist() == [[1, 0, 1], [0, 2, 1]]


def test_no_points(picture):
    assert picture.xy_from_ijk(np.empty((0, 3), int)).shape == (0, 2)
    assert picture.ijk_from_xy(np.empty((0, 2))).shape == (0, 3)
