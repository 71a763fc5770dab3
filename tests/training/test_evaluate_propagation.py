"""Propagation's figures: counted over the whole volume, beside what it must be compared with."""

from dataclasses import replace

import numpy as np
import pytest
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.training.corrections import find_corrections
from cobot.training.evaluate_propagation import (
    compared_dice,
    followed_structures,
    propagated_dice,
    task_case,
)
from cobot.training.task import TrainingTask

TASK = TrainingTask("discs", {1: "ball", 2: "rod"}, cut="k").shown_in("-200,300")


@pytest.fixture(scope="module")
def case(data):
    return task_case(find_corrections(data)[0], TASK)


@pytest.fixture
def segmenter(loaded):
    return SliceSegmenter(loaded, options=SegmenterOptions(side_px=32))


def test_structures_and_their_middle_slices(case, segmenter):
    ball, rod = followed_structures(case, segmenter)
    assert (ball.name, list(ball.truth), ball.middle) == ("ball", [1, 2, 3], 2)
    assert (rod.name, list(rod.truth), rod.middle) == ("rod", [2], 2)
    assert rod.box.box_xyxy[2:].tolist() == (rod.box.box_xyxy[:2] + [4, 5]).tolist()
    assert ball.slices.step_mm == 6.0


def test_what_is_found_outside_the_structure_counts(case, segmenter):
    ball = next(iter(followed_structures(case, segmenter)))
    assert ball.score(ball.truth) == 1.0
    area = sum(int(mask.sum()) for mask in ball.truth.values())
    extra = {**ball.truth, 0: ball.truth[2]}
    assert ball.score(extra) == pytest.approx(2 * area / (2 * area + int(ball.truth[2].sum())))
    assert ball.score({}) == 0.0


def test_figures_stand_side_by_side(case, segmenter):
    found = compared_dice(case, segmenter)
    assert set(found) == {"ball", "rod"}
    for measures in found.values():
        assert set(measures) == {"propagated", "true_ends", "copied", "oracle", "ellipse"}
    assert found["ball"]["ellipse"] > 0.85, "a ball is an ellipse on each slice"
    assert found["rod"]["copied"] == found["rod"]["oracle"], "it lies on one slice"
    again = propagated_dice(case, segmenter)
    assert again == {name: measures["propagated"] for name, measures in found.items()}


def test_a_structure_that_is_absent_is_left_out(case, segmenter):
    truth = np.where(case.truth == 2, 0, case.truth)
    without = replace(case, truth=truth)
    assert [one.name for one in followed_structures(without, segmenter)] == ["ball"]
