"""Boxes of structures whose voxels are known."""

import numpy as np
import pytest
from cobot.errors import PromptError
from cobot.planes import plane_across
from cobot.training.boxes import organ_box, slice_boxes
from cobot.volume import LabelMap


@pytest.fixture
def truth():
    voxels = np.zeros((8, 9, 5), np.uint8)
    voxels[2:5, 3:7, 1] = 1
    voxels[4:6, 1:4, 3] = 1
    voxels[0, 0, 3] = 2
    return LabelMap(voxels, np.eye(4), {1: "liver", 2: "spleen", 3: "aorta"})


def test_one_box_holds_the_whole_structure(truth):
    box = organ_box(truth, "liver")
    assert box.label == "liver"
    assert box.box_ijk.tolist() == [[2, 1, 1], [5, 6, 3]]


def test_slice_boxes_are_tight_on_each_slice(truth):
    boxes = slice_boxes(truth, ["liver", "spleen"], plane_across(truth.affine, 2))
    assert list(boxes) == [1, 3]
    assert [target.box_ijk.tolist() for target in boxes[1].objects] == [[[2, 3, 1], [4, 6, 1]]]
    assert {target.label: target.box_ijk.tolist() for target in boxes[3].objects} == {
        "liver": [[4, 1, 3], [5, 3, 3]],
        "spleen": [[0, 0, 3], [0, 0, 3]],
    }


def test_a_structure_without_voxels_is_refused(truth):
    with pytest.raises(PromptError, match="no voxel of 'aorta'"):
        organ_box(truth, "aorta")
