"""Slicer's request, read and refused, without a server."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from cobot.errors import PromptError
from hypothesis import given
from hypothesis import strategies as st

PATH = Path(__file__).parents[2] / "apps" / "cobot_sam" / "lib" / "requests.py"
SPEC = importlib.util.spec_from_file_location("cobot_sam_requests", PATH)
requests = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = requests
SPEC.loader.exec_module(requests)

SHAPE = (20, 30, 10)


def ask(**request):
    return requests.choose_slice(requests.read_request(request), SHAPE)


def test_slicers_own_request_is_read():
    question = ask(
        model="sam_2d",
        image="phantom",
        label="spleen",
        foreground=[[3, 4, 5], [6, 7, 5]],
        background=[[1, 1, 5]],
        roi=[16, 2, 14, 3, 8, 3],
        slice=5,
        reset_state=True,
        window="abdomen",
        result_extension=".nrrd",
        result_dtype="uint8",
        client_id="user-xyz",
    )
    assert question.slice_k == 5
    assert question.notes == ()
    assert question.prompts.label == "spleen"
    assert question.prompts.points_ijk.tolist() == [[3, 4, 5], [6, 7, 5], [1, 1, 5]]
    assert question.prompts.positive.tolist() == [True, True, False]
    assert question.prompts.box_ijk.tolist() == [[2, 3, 5], [16, 14, 5]]


@given(
    i=st.tuples(st.integers(0, 19), st.integers(0, 19)),
    j=st.tuples(st.integers(0, 29), st.integers(0, 29)),
    k=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_corners_may_come_in_any_order(i, j, k):
    given_roi = ask(roi=[*i, *j, *k])
    sorted_roi = ask(roi=[*sorted(i), *sorted(j), *sorted(k)])
    assert given_roi.slice_k == sorted_roi.slice_k
    assert (given_roi.prompts.box_ijk == sorted_roi.prompts.box_ijk).all()


def test_a_roi_that_reaches_over_the_edge_is_clamped():
    assert ask(roi=[-5, 99, 3, 40, 4, 4]).prompts.box_ijk.tolist() == [[0, 3, 4], [19, 29, 4]]


def test_a_roi_of_another_object_is_left_out_and_said_so():
    question = ask(foreground=[[1, 1, 4]], roi=[10, 15, 10, 15, 0, 9], slice=4)
    assert question.prompts.box_ijk is None
    assert "ROI was left out" in question.notes[0]


def test_a_roi_outside_the_image_is_left_out_or_refused():
    question = ask(foreground=[[1, 1, 4]], roi=[50, 60, 0, 5, 0, 5])
    assert question.prompts.box_ijk is None
    assert question.notes == ("The ROI lies outside the image and was left out.",)
    with pytest.raises(PromptError, match="outside the image.*place one foreground click"):
        ask(roi=[50, 60, 0, 5, 0, 5])


def test_an_empty_roi_is_none():
    assert ask(foreground=[[1, 1, 4]], roi=[]).prompts.box_ijk is None


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"foreground": [[1, 1, 2], [1, 1, 4]], "slice": 2}, 2),
        ({"foreground": [[1, 1, 2], [1, 1, 4]]}, 4),
        ({"foreground": [[1, 1, 2], [1, 1, 4]], "slice": 3}, 4),
        ({"foreground": [[1, 1, 2]], "slice": 99}, 2),
        ({"foreground": [[1, 1, 2]], "slice": -1}, 2),
        ({"foreground": [[1, 1, 0], [1, 1, 3]], "slice": 0}, 0),
        ({"roi": [0, 5, 0, 5, 2, 6], "slice": 3}, 3),
        ({"roi": [0, 5, 0, 5, 6, 2], "slice": 9}, 4),
        ({"roi": [0, 5, 0, 5, 6, 2], "slice": 240}, 4),
        ({"roi": [0, 5, 0, 5, 2, 6]}, 4),
        ({"roi": [0, 5, 0, 5, 2, 6], "foreground": [[1, 1, 3]], "slice": 5}, 5),
        ({"roi": [0, 5, 0, 5, 2, 6], "foreground": [[1, 1, 3]], "slice": 8}, 3),
        ({"roi": [0, 5, 0, 5, 2, 6], "background": [[1, 1, 5]], "slice": 5}, 5),
    ],
)
def test_which_slice_is_answered(request_, expected):
    question = ask(**request_)
    assert question.slice_k == expected
    assert (question.prompts.points_ijk[:, 2] == expected).all()


def test_another_slice_than_the_shown_one_is_said():
    assert (
        "Slice 3 holds no usable prompt; slice 4" in ask(foreground=[[1, 1, 4]], slice=3).notes[0]
    )
    assert ask(foreground=[[1, 1, 2], [1, 1, 4]], slice=4).notes == (
        "1 point(s) on other slices were left out.",
    )


def test_points_between_voxels_go_to_the_nearest():
    points = ask(foreground=[[1.4, 2.6, 4.0]]).prompts.points_ijk
    assert points.tolist() == [[1, 3, 4]]
    assert points.dtype == np.int64


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "No click and no ROI.*place one foreground click"),
        ({"foreground": None, "background": []}, "No click and no ROI"),
        ({"background": [[1, 1, 1]]}, "Only background points.*place one foreground click"),
        ({"foreground": [[20, 1, 1]]}, r"\[20, 1, 1\] lies outside.*\[19, 29, 9\]"),
        ({"foreground": [[1, 1, 1]], "background": [[1, -1, 1]]}, r"\[1, -1, 1\] lies outside"),
        ({"foreground": [[1, 1, 1e300]]}, "lies outside"),
        ({"foreground": [[1, 1]]}, r"foreground\[0\].*three voxel indices"),
        ({"foreground": [1, 1, 1]}, r"foreground\[0\].*three voxel indices"),
        ({"foreground": [["1", 1, 1]]}, r"foreground\[0\]\[0\].*three voxel indices"),
        ({"foreground": [[True, 1, 1]]}, r"foreground\[0\]\[0\]"),
        ({"foreground": [[float("nan"), 1, 1]]}, "finite"),
        ({"foreground": [[float("inf"), 1, 1]]}, "finite"),
        ({"foreground": {"a": 1}}, "foreground"),
        ({"roi": [1, 2, 3, 4]}, "roi.*six voxel indices"),
        ({"roi": [1, 2, 3, 4, 5, "6"]}, r"roi\[5\].*six voxel indices"),
        ({"roi": "here"}, "roi.*six voxel indices"),
        ({"foreground": [[1, 1, 1]], "slice": 1.5}, "slice.*whole number"),
        ({"foreground": [[1, 1, 1]], "slice": "one"}, "slice.*whole number"),
        ({"foreground": [[1, 1, 1]], "slice": True}, "slice.*whole number"),
        ({"foreground": [[1, 1, 1]], "result_extension": "/../x.nii"}, "one of .nii.gz"),
        ({"foreground": [[1, 1, 1]], "label": 7}, "label.*name of the segment"),
    ],
)
def test_a_bad_request_names_the_key_and_the_cure(request_, message):
    with pytest.raises(PromptError, match=message):
        ask(**request_)


def test_a_window_list_means_its_first():
    request = requests.read_request({"window": ["auto", "spleen"]})
    assert request.window == "auto"
