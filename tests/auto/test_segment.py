"""A volume in, all labels out, on the very voxels; and the refusals."""

from dataclasses import replace

import numpy as np
import pytest
from cobot.auto.files import LabelPrompts
from cobot.auto.second_pass import LabelAnswer, part_boxes, settled
from cobot.auto.segment import AutoPlan, segment_auto
from cobot.auto.train import case_dice
from cobot.errors import AdapterError
from cobot.intensity import IntensityWindow
from cobot.training.evaluate_propagation import task_case


def test_a_few_steps_find_the_shapes_of_another_case(model, learnt, cases, task):
    case = task_case(cases[2], task)
    found = segment_auto(case.volume, model.segmenter, learnt)
    dice = case_dice(case, found.label_map)
    assert min(dice.values()) > 0.3
    assert found.label_map.labels == {1: "ball", 2: "rod"}
    found.label_map.require_same_grid(case.volume)
    assert learnt.settings.components == {"ball": 1, "rod": 1}


def test_what_is_told_of_each_label_fits_the_masks(model, learnt, shapes_volume):
    found = segment_auto(shapes_volume, model.segmenter, learnt)
    voxels = found.label_map.voxels
    held = {
        (name, index)
        for value, name in found.label_map.labels.items()
        for index in range(voxels.shape[2])
        if (voxels[:, :, index] == value).any()
    }
    assert held
    assert set(found.predicted_iou) == set(found.confidence) == held
    assert len(found.presence) == 2 * voxels.shape[2]
    assert all(0 <= value <= 1 for value in found.confidence.values())
    assert found.least_certain in held
    assert set(found.seconds) == {"first_pass", "consistency", "second_pass"}


def test_the_axes_of_the_file_do_not_matter(model, learnt, shapes_volume):
    """The same picture stored in another order of axes gets the same masks."""
    found = segment_auto(shapes_volume, model.segmenter, learnt, plan=AutoPlan(second_pass="none"))
    order = [2, 0, 1]
    affine = shapes_volume.affine[:, [*order, 3]]
    turned = type(shapes_volume)(shapes_volume.voxels.transpose(order), affine)
    axial = replace(learnt.settings.task, cut="axial")
    other = LabelPrompts(replace(learnt.settings, task=axial), learnt.prompter)
    again = segment_auto(turned, model.segmenter, other, plan=AutoPlan(second_pass="none"))
    np.testing.assert_array_equal(again.label_map.voxels, found.label_map.voxels.transpose(order))


def test_a_window_of_ones_own_replaces_those_of_the_training(model, learnt, shapes_volume):
    same = segment_auto(shapes_volume, model.segmenter, learnt, IntensityWindow(-200.0, 300.0))
    kept = segment_auto(shapes_volume, model.segmenter, learnt)
    np.testing.assert_array_equal(same.label_map.voxels, kept.label_map.voxels)


def test_prompts_of_another_adapter_are_refused(model, prompts, shapes_volume):
    for changes in ({"adapter_sha256": ""}, {"base_sha256": "f" * 64}):
        other = LabelPrompts(replace(prompts.settings, **changes), prompts.prompter)
        with pytest.raises(AdapterError, match="load the adapter version that they lie beside"):
            segment_auto(shapes_volume, model.segmenter, other)


def test_each_large_part_gets_a_box_of_its_own():
    mask = np.zeros((20, 20), bool)
    mask[2:8, 2:8] = True
    mask[12:16, 10:18] = True
    mask[19, 19] = True
    boxes = [one.box_xyxy.tolist() for one in part_boxes(mask)]
    assert boxes == [[2, 2, 7, 7], [10, 12, 17, 15]]


def test_an_answer_that_became_another_structure_is_not_taken():
    first = np.zeros((10, 10), bool)
    first[2:6, 2:6] = True
    logits = np.full((10, 10), -5, np.float32)
    logits[2:6, 2:5] = 5
    near = settled(first, LabelAnswer(logits, 0.8))
    assert near.agreement == pytest.approx(12 / 16)
    np.testing.assert_array_equal(near.answer.logits, logits)
    far = settled(first, LabelAnswer(np.roll(logits, 4, axis=0), 0.8))
    assert far.agreement == 0
    np.testing.assert_array_equal(far.answer.logits > 0, first)


def test_many_parts_of_one_size_are_all_asked_for():
    mask = np.zeros((40, 40), bool)
    for row in range(0, 40, 10):
        for col in range(0, 30, 10):
            mask[row : row + 4, col : col + 4] = True
    assert len(part_boxes(mask)) == 12
