"""Volumes and label maps refuse what has no place, and compare grids."""

import numpy as np
import pytest
from cobot.errors import GeometryError, GridMismatchError
from cobot.volume import LabelMap, Volume
from hypothesis import given
from hypothesis import strategies as st

AFFINE = np.diag([-2.0, 3, 5, 1])
VOXELS = np.arange(24).reshape(2, 3, 4)


def test_shape_and_spacing():
    volume = Volume(VOXELS, AFFINE)
    assert volume.shape == (2, 3, 4)
    assert volume.spacing_mm == (2.0, 3.0, 5.0)


def test_empty_axis_is_refused():
    with pytest.raises(GridMismatchError, match=r"three non-empty axes, got shape \(2, 0, 4\)"):
        Volume(np.zeros((2, 0, 4)), AFFINE)


@pytest.mark.parametrize("kind", [Volume, LabelMap])
def test_affine_is_checked(kind):
    with pytest.raises(GeometryError, match="singular"):
        kind(VOXELS, np.diag([1.0, 0, 1, 1]))


def test_other_voxels_in_the_same_place():
    volume = Volume(VOXELS, AFFINE).with_voxels(VOXELS * 2)
    assert volume.voxels[1, 2, 3] == 46
    assert volume.affine is not None
    assert np.array_equal(volume.affine, AFFINE)
    with pytest.raises(GridMismatchError, match=r"keep shape \(2, 3, 4\), got \(2, 3, 3\)"):
        volume.with_voxels(VOXELS[:, :, :3])


def test_mask_by_name():
    labels = LabelMap(VOXELS % 3, AFFINE, {1: "lung", 2: "liver"})
    np.testing.assert_array_equal(labels.mask("liver"), VOXELS % 3 == 2)
    with pytest.raises(GridMismatchError, match=r"No label is called 'heart'.*'liver', 'lung'"):
        labels.mask("heart")


def test_two_values_of_one_name_are_one_structure():
    labels = LabelMap(VOXELS % 3, AFFINE, {1: "lung", 2: "lung"})
    np.testing.assert_array_equal(labels.mask("lung"), VOXELS % 3 > 0)


@pytest.mark.parametrize("value", [0, -1, 65536])
def test_label_values_that_cannot_be_stored(value):
    with pytest.raises(GridMismatchError, match=rf"\[{value}\] cannot be stored; expected 1 to 65"):
        LabelMap(VOXELS, AFFINE, {value: "liver"})
    LabelMap(VOXELS, AFFINE, {1: "first", 65535: "last"})


def test_same_grid():
    volume = Volume(VOXELS, AFFINE)
    LabelMap(VOXELS, AFFINE + np.eye(4, k=3) * 5e-4).require_same_grid(volume)
    moved = LabelMap(VOXELS, AFFINE + np.eye(4, k=3) * 0.01)
    cut = LabelMap(VOXELS[:1], AFFINE)
    for other in (moved, cut):
        with pytest.raises(GridMismatchError, match="not on the image's grid.*export it again"):
            other.require_same_grid(volume)


OBLIQUE = np.array([[0.8, -0.6, 0, 4], [1.2, 0.4, 0, -7], [0, 0, 3, 1], [0, 0, 0, 1]])


@given(
    st.permutations(range(3)), st.tuples(*3 * [st.booleans()]), st.sampled_from((AFFINE, OBLIQUE))
)
def test_a_map_stored_in_another_order_is_turned_back(order, flips, affine):
    """Every voxel keeps its value and its place, whatever the order and direction of the axes."""
    volume = Volume(np.zeros((2, 3, 4)), affine)
    stored, to_volume = VOXELS.transpose(order), np.eye(4)[[*order, 3]].T
    for axis in np.flatnonzero(flips):
        stored = np.flip(stored, axis)
        flip = np.eye(4)
        flip[axis, axis], flip[axis, 3] = -1, stored.shape[axis] - 1
        to_volume = to_volume @ flip
    turned = LabelMap(stored, affine @ to_volume, {1: "liver"}).on_grid_of(volume)
    np.testing.assert_array_equal(turned.voxels, VOXELS)
    np.testing.assert_allclose(turned.affine, affine, atol=1e-12)
    assert turned.labels == {1: "liver"}


@pytest.mark.parametrize(
    ("shape", "affine", "difference"),
    [
        ((2, 3, 4), np.diag([2.0, 3, 5, 1]), "equal shapes.*corners up to 2 mm apart"),
        ((2, 3, 4), np.diag([-2.0, 3, 5.1, 1]), "2 x 3 x 5.1 against 2 x 3 x 5 mm.*0.3 mm apart"),
        ((2, 4, 3), AFFINE, r"\(2, 4, 3\) voxels against \(2, 3, 4\)"),
    ],
    ids=["mirrored", "stretched", "other shape"],
)
def test_a_map_that_lies_elsewhere_is_not_turned(shape, affine, difference):
    """A mirrored map holds the same numbers at other places."""
    with pytest.raises(GridMismatchError, match=difference):
        LabelMap(np.zeros(shape, np.uint8), affine).on_grid_of(Volume(VOXELS, AFFINE))


def test_volumes_are_told_apart_by_identity():
    """Arrays have no truth value; comparing two volumes must not raise."""
    volume = Volume(VOXELS, AFFINE)
    assert volume == volume
    assert volume != Volume(VOXELS, AFFINE)
    assert len({volume, volume}) == 1
