"""Prompts on a volume become prompts on a slice; what cannot be used is refused."""

import jaxtyping
import numpy as np
import pytest
from cobot.errors import PromptError
from cobot.planes import plane_across
from cobot.prompts import ObjectPrompts, Prompts, VolumePrompts
from cobot.slicing import cut_slice
from cobot.volume import Volume

VOLUME = Volume(np.zeros((10, 20, 5)), np.diag([-1.0, 1, 3, 1]))
AXIAL = plane_across(VOLUME.affine, 2)
"""LAS: x = i, y = 19 - j."""


def slice_at(index):
    return cut_slice(VOLUME, AXIAL, index)


def clicks(*points_and_signs, label="liver", box=None):
    points = np.array([point for point, _ in points_and_signs], int).reshape(-1, 3)
    signs = np.array([sign for _, sign in points_and_signs], bool)
    return ObjectPrompts(label, points, signs, None if box is None else np.array(box))


def test_clicks_go_to_their_slice():
    target = clicks(([3, 4, 1], True), ([5, 6, 1], False), ([7, 8, 2], True))
    here = target.on_slice(slice_at(1))
    assert here.points_xy.tolist() == [[3, 15], [5, 13]]
    assert here.positive.tolist() == [True, False]
    assert here.box_xyxy is None
    assert target.on_slice(slice_at(2)).points_xy.tolist() == [[7, 11]]
    assert target.on_slice(slice_at(3)) is None


def test_box_covers_its_slices_with_corners_in_order():
    """The picture is turned over: the lowest j is the largest y."""
    target = clicks(box=[[2, 3, 1], [6, 9, 3]])
    for index in (1, 2, 3):
        assert target.on_slice(slice_at(index)).box_xyxy.tolist() == [2, 10, 6, 16]
    assert target.on_slice(slice_at(0)) is None
    assert target.on_slice(slice_at(4)) is None


def test_box_in_another_plane():
    sagittal = plane_across(VOLUME.affine, 0)
    here = clicks(box=[[2, 3, 1], [6, 9, 3]]).on_slice(cut_slice(VOLUME, sagittal, 6))
    # Columns run to posterior: x = 19 - j; rows to inferior: y = 4 - k.
    assert here.box_xyxy.tolist() == [10, 1, 16, 3]


def test_negative_clicks_alone_segment_nothing():
    assert clicks(([3, 4, 1], False)).on_slice(slice_at(1)) is None
    boxed = clicks(([3, 4, 1], False), box=[[2, 3, 1], [6, 9, 1]]).on_slice(slice_at(1))
    assert boxed.positive.tolist() == [False]
    with pytest.raises(PromptError, match="Nothing to segment: give a box or at least one pos"):
        Prompts(np.zeros((1, 2)), np.array([False]))
    with pytest.raises(PromptError, match="Nothing to segment"):
        Prompts()


def test_only_one_lone_click_is_ambiguous():
    one, box = np.zeros((1, 2)), np.array([0.0, 0, 5, 5])
    yes = np.array([True])
    assert Prompts(one, yes).is_ambiguous
    assert not Prompts(one, yes, box).is_ambiguous
    assert not Prompts(box_xyxy=box).is_ambiguous
    assert not Prompts(np.zeros((2, 2)), np.array([True, False])).is_ambiguous
    assert not Prompts(one, yes, mask_logits=np.zeros((4, 4), np.float32)).is_ambiguous


@pytest.fixture
def production():
    """Leave out the run-time check of shapes, as outside tests: it would object first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("production")
def test_a_sign_for_each_point():
    with pytest.raises(PromptError, match="2 points but 1 signs; give one sign each"):
        Prompts(np.zeros((2, 2)), np.array([True]))
    with pytest.raises(PromptError, match="1 points but 0 signs"):
        ObjectPrompts("liver", np.zeros((1, 3), int))


def test_box_upside_down():
    with pytest.raises(PromptError, match=r"box of 'liver' starts at \[2, 9, 1\].*lowest corner"):
        clicks(box=[[2, 9, 1], [6, 3, 3]])
    assert clicks(box=[[2, 3, 1], [2, 3, 1]]).on_slice(slice_at(1)) is not None


@pytest.mark.parametrize("ijk", [[10, 0, 0], [0, 20, 0], [0, 0, 5], [-1, 0, 0]])
def test_outside_the_image(ijk):
    low = np.minimum(ijk, 0).tolist()
    for target in (clicks((ijk, True)), clicks(box=[low, np.maximum(ijk, 0).tolist()])):
        with pytest.raises(PromptError, match=r"'liver': ijk .* outside .* to \[9, 19, 4\]"):
            target.require_inside(VOLUME)


def test_corners_are_inside():
    clicks(([9, 19, 4], True), box=[[0, 0, 0], [9, 19, 4]]).require_inside(VOLUME)


def test_several_objects_on_one_slice():
    asked = VolumePrompts(
        AXIAL,
        (
            clicks(([3, 4, 1], True), label="liver"),
            clicks(box=[[2, 3, 1], [6, 9, 3]], label="spleen"),
            clicks(([3, 4, 2], True), label="kidney"),
        ),
    )
    assert list(asked.on_slice(slice_at(1))) == ["liver", "spleen"]
    assert list(asked.on_slice(slice_at(2))) == ["spleen", "kidney"]
    assert asked.on_slice(slice_at(0)) == {}


def test_one_object_asked_for_twice():
    """The second would silently win over the first."""
    with pytest.raises(PromptError, match=r"\['liver'\] are prompted more than once; put all"):
        VolumePrompts(AXIAL, (clicks(([3, 4, 1], True)), clicks(([3, 4, 2], True))))
