"""Cut into slices and stacked again, every voxel is back where it was."""

from itertools import permutations, product

import numpy as np
import pytest
from cobot.errors import GeometryError, GridMismatchError
from cobot.geometry import check_affine
from cobot.planes import plane_across
from cobot.slicing import cut_slice, settle_overlaps, slice_volume, stack_masks
from cobot.volume import Volume
from hypothesis import given
from hypothesis import strategies as st

LABELS = {value: f"label {value}" for value in range(1, 8)}
SIGNED_PERMUTATIONS = [
    np.eye(3)[:, list(order)] * signs
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]


@st.composite
def affines(draw):
    """Any affine: one of 48 orders, times rotation, shear and anisotropic spacing."""
    about = draw(st.tuples(*[st.floats(-np.pi, np.pi)] * 3))
    turn = np.eye(3)
    for axis, angle in enumerate(about):
        plane = [other for other in range(3) if other != axis]
        step = np.eye(3)
        step[np.ix_(plane, plane)] = [
            [np.cos(angle), -np.sin(angle)],
            [np.sin(angle), np.cos(angle)],
        ]
        turn = turn @ step
    shear = np.eye(3)
    shear[np.triu_indices(3, 1)] = draw(st.tuples(*[st.floats(-0.5, 0.5)] * 3))
    spacing = np.diag(draw(st.tuples(*[st.floats(0.1, 10)] * 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn @ shear @ spacing @ draw(st.sampled_from(SIGNED_PERMUTATIONS))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-1000, 1000)] * 3))
    return check_affine(affine)


@given(affines(), st.tuples(*[st.integers(1, 6)] * 3), st.integers(0, 2**32 - 1))
def test_slice_then_stack_is_equality(affine, shape, seed):
    truth = np.random.default_rng(seed).integers(0, 8, shape).astype(np.uint8)
    volume = Volume(truth, affine)
    for axis in range(3):
        plane = plane_across(affine, axis)
        masks = {cut.index: cut.pixels for cut in slice_volume(volume, plane)}
        assert list(masks) == list(range(shape[axis]))
        stacked = stack_masks(masks, plane, like=volume, labels=LABELS)
        np.testing.assert_array_equal(stacked.voxels, truth)
        assert stacked.affine.tobytes() == affine.tobytes()
        assert stacked.labels == LABELS


@pytest.fixture
def volume():
    return Volume(np.zeros((2, 3, 4), np.int16), np.diag([-1.0, 1, 5, 1]))


def test_slices_left_out_are_background(volume):
    plane = plane_across(volume.affine, 2)
    stacked = stack_masks({1: np.full((3, 2), 7)}, plane, like=volume, labels=LABELS)
    assert stacked.voxels.dtype == np.uint8
    assert (stacked.voxels[:, :, 1] == 7).all()
    assert stacked.voxels.sum() == 7 * 6


def test_no_masks_is_an_empty_map(volume):
    stacked = stack_masks({}, plane_across(volume.affine, 2), like=volume, labels={})
    assert stacked.voxels.shape == (2, 3, 4)
    assert not stacked.voxels.any()


@pytest.mark.parametrize(
    ("value", "dtype"), [(255, np.uint8), (256, np.uint16), (65535, np.uint16)]
)
def test_type_that_holds_the_labels(volume, value, dtype):
    plane = plane_across(volume.affine, 2)
    stacked = stack_masks({0: np.full((3, 2), value)}, plane, volume, {value: "last"})
    assert stacked.voxels.dtype == dtype
    assert stacked.voxels[0, 0, 0] == value


def test_label_beyond_uint16(volume):
    plane = plane_across(volume.affine, 2)
    with pytest.raises(GridMismatchError, match=r"\[65536\] cannot be stored"):
        stack_masks({0: np.full((3, 2), 65536)}, plane, volume, {65536: "too high"})


def test_mask_of_another_shape(volume):
    plane = plane_across(volume.affine, 2)
    with pytest.raises(GridMismatchError, match=r"1 has shape \(2, 3\), its slice has \(3, 2\)"):
        stack_masks({1: np.zeros((2, 3), int)}, plane, volume, LABELS)


@pytest.mark.parametrize("value", [8, -1])
def test_value_without_a_name(volume, value):
    plane = plane_across(volume.affine, 2)
    with pytest.raises(GridMismatchError, match=rf"slice 0 holds values \[{value}\] that no label"):
        stack_masks({0: np.full((3, 2), value)}, plane, volume, LABELS)


@pytest.mark.parametrize("index", [-1, 4])
def test_no_such_slice(volume, index):
    plane = plane_across(volume.affine, 2)
    with pytest.raises(GeometryError, match=rf"Slice {index} along voxel axis k .* slices 0 to 3"):
        cut_slice(volume, plane, index)
    with pytest.raises(GeometryError, match="does not exist"):
        stack_masks({index: np.zeros((3, 2), int)}, plane, volume, LABELS)
    assert cut_slice(volume, plane, 3).index == 3


def test_spacing_of_a_slice_is_rows_then_columns():
    volume = Volume(np.zeros((2, 3, 4)), np.diag([0.5, 2, 5, 1]))
    spacings = [cut_slice(volume, plane_across(volume.affine, a), 0).spacing_mm for a in range(3)]
    assert spacings == [(5.0, 2.0), (5.0, 0.5), (2.0, 0.5)]


def test_where_labels_overlap_the_surer_one_wins():
    one = np.array([[3, 3, -1]], np.float32)
    two = np.array([[5, 1, -2]], np.float32)
    assert settle_overlaps([(2, one), (1, two)]).tolist() == [[1, 2, 0]]
    assert settle_overlaps([(1, -two), (1, one)]).tolist() == [[1, 1, 1]]
