"""Requests for whole structures, read and refused, without a server."""

import importlib
import sys
from pathlib import Path

import pytest
from cobot.errors import PromptError

APP = Path(__file__).parents[2] / "apps" / "cobot_sam"
SHAPE = (20, 30, 10)
LABELS = ("spleen", "liver")


@pytest.fixture(scope="module")
def requests():
    """The app's module, found as MONAI Label's loader finds it; forgotten afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(APP))
        yield importlib.import_module("lib.volume_requests")
    for name in [name for name in sys.modules if name == "lib" or name.startswith("lib.")]:
        del sys.modules[name]


@pytest.fixture
def one(requests):
    return lambda **given: requests.one_structure(requests.read_volume_request(given), SHAPE)


@pytest.fixture
def several(requests):
    return lambda **given: requests.several_structures(given, SHAPE, LABELS)


def test_slicers_request_for_one_structure_is_read(one, requests):
    question = one(
        label="spleen",
        foreground=[[3, 4, 5], [6, 7, 8]],
        background=[[1, 1, 5]],
        roi=[9, 2, 9, 3, 7, 4],
        window="abdomen",
        time_cap_s=20,
        reset_state=True,
        result_extension=".nrrd",
        client_id="user-xyz",
    )
    (target,) = question.targets
    assert target.label == "spleen"
    assert target.points_ijk.tolist() == [[3, 4, 5], [6, 7, 8], [1, 1, 5]]
    assert target.positive.tolist() == [True, True, False]
    assert target.box_ijk.tolist() == [[2, 3, 5], [9, 9, 5]]
    assert question.notes == ("Of the ROI over slices 4 to 7 its middle 5 counts.",)
    assert requests.read_volume_request({"time_cap_s": 20}).time_cap_s == 20
    assert requests.read_volume_request({}).time_cap_s is None


def test_the_roi_stays_where_it_is_whatever_is_clicked_later(one):
    roi = [2, 9, 3, 9, 5, 5]
    for clicks in ([], [[3, 4, 1]], [[3, 4, 5], [15, 25, 9]]):
        question = one(foreground=clicks, roi=roi)
        assert question.targets[0].box_ijk.tolist() == [[2, 3, 5], [9, 9, 5]]
        assert question.notes == ()


def test_the_roi_of_another_structure_is_left_out_and_said_so(one):
    question = one(label="liver", foreground=[[15, 25, 5]], roi=[2, 9, 3, 9, 5, 5])
    assert question.targets[0].box_ijk is None
    assert "ROI was left out: no click on 'liver' lies in it" in question.notes[0]
    question = one(foreground=[[15, 25, 5]], roi=[40, 50, 3, 9, 5, 5])
    assert question.notes == ("The ROI lies outside the image and was left out.",)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "No click and no ROI.*place one foreground click on 'object'"),
        ({"background": [[1, 1, 1]]}, "Only background points.*place one foreground click"),
        ({"foreground": [[20, 1, 1]]}, r"\[20, 1, 1\] lies outside the image"),
        ({"foreground": [[1, 1, 1]], "background": [[1, 1, -1]]}, "background point.*outside"),
        ({"foreground": [[1, 1]]}, "three voxel indices"),
        ({"foreground": [[1, 1, 1]], "time_cap_s": 0}, "time_cap_s is not usable.*got 0.*seconds"),
        ({"foreground": [[1, 1, 1]], "time_cap_s": -3}, "time_cap_s.*at most 600"),
        ({"foreground": [[1, 1, 1]], "time_cap_s": 601}, "time_cap_s.*at most 600"),
        ({"foreground": [[1, 1, 1]], "time_cap_s": "20"}, "time_cap_s.*got 20"),
        ({"foreground": [[1, 1, 1]], "time_cap_s": float("nan")}, "time_cap_s.*finite"),
    ],
)
def test_what_cannot_be_answered_for_one_is_refused_with_the_cure(one, request_, message):
    with pytest.raises(PromptError, match=message):
        one(**request_)


def test_slicers_request_for_several_structures_is_read(several):
    question = several(
        spleen=[[3, 4, 5]],
        liver=[[9, 9, 1], [9, 9, 9]],
        label="liver",
        window="auto",
        time_cap_s=20,
        result_extension=".nrrd",
        result_dtype="uint8",
        client_id="user-xyz",
    )
    assert [one.label for one in question.targets] == ["spleen", "liver"]
    assert question.targets[1].points_ijk.tolist() == [[9, 9, 1], [9, 9, 9]]
    assert question.targets[1].positive.all()
    assert question.notes == ()


def test_structures_without_a_click_are_not_asked_for(several):
    assert [one.label for one in several(spleen=[], liver=[[1, 1, 1]]).targets] == ["liver"]


def test_background_counts_for_all_and_foreground_and_roi_for_the_current_one(several):
    question = several(
        spleen=[[3, 4, 5]],
        foreground=[[9, 9, 9]],
        background=[[1, 2, 3]],
        label="liver",
        roi=[8, 12, 8, 12, 4, 4],
    )
    spleen, liver = question.targets
    assert spleen.points_ijk.tolist() == [[3, 4, 5], [1, 2, 3]]
    assert liver.points_ijk.tolist() == [[9, 9, 9], [1, 2, 3]]
    assert liver.positive.tolist() == [True, False]
    assert spleen.box_ijk is None
    assert liver.box_ijk.tolist() == [[8, 8, 4], [12, 12, 4]]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "No click on any structure.*at least one of spleen, liver"),
        ({"background": [[1, 1, 1]]}, "No click on any structure"),
        ({"spleeen": [[1, 1, 1]]}, "'spleeen' is none of this server's labels.*--labels"),
        ({"spleen": [[1, 1, 1]], "label": "tumour"}, "'tumour' is none of.*use sam_3d"),
        ({"liver": [[1, 30, 1]]}, r"liver point \[1, 30, 1\] lies outside the image"),
        ({"liver": [[1, 3]]}, r"liver\[0\].*three voxel indices"),
        ({"liver": "here"}, "liver is not usable.*three voxel indices"),
        ({"liver": [[1, 1, 1]], "time_cap_s": 1e9}, "time_cap_s.*at most 600"),
        ({"roi": [40, 50, 1, 2, 1, 2], "label": "liver"}, "ROI lies outside.*No click on any"),
    ],
)
def test_what_cannot_be_answered_for_several_is_refused_with_the_cure(several, request_, message):
    with pytest.raises(PromptError, match=message):
        several(**request_)
