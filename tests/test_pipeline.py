"""The whole way through a volume, with a real (untrained) tiny SAM."""

import numpy as np
import pytest
import torch
from cobot.errors import PromptError
from cobot.intensity import IntensityWindow
from cobot.pipeline import segment_volume
from cobot.planes import plane_across
from cobot.prompts import ObjectPrompts, VolumePrompts
from cobot.sam.build import build, encoder_shape
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import LoadedSam
from cobot.slicing import cut_slice
from cobot.volume import Volume

WINDOW = IntensityWindow(-160, 240)
AFFINE = np.array([[-2.0, 0.1, 0, 30], [0.1, -2, 0.3, 40], [0, 0.2, 6, -50], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def segmenter():
    torch.manual_seed(0)
    loaded = LoadedSam(build("tiny"), encoder_shape("tiny"), sha256="random")
    return SliceSegmenter(loaded, "cpu", SegmenterOptions(side_px=64))


@pytest.fixture(scope="module")
def volume():
    voxels = np.random.default_rng(0).normal(40, 60, (40, 32, 9)).astype(np.int16)
    return Volume(voxels, AFFINE)


def boxed(label, *corners):
    return ObjectPrompts(label=label, box_ijk=np.array(corners).reshape(2, 3))


def test_the_answer_lies_on_the_volumes_grid_and_only_where_it_was_asked(segmenter, volume):
    prompts = VolumePrompts(
        plane_across(volume.affine, 2),
        (boxed("liver", 5, 5, 2, 30, 25, 6), boxed("spleen", 20, 4, 5, 35, 20, 7)),
    )
    found = segment_volume(volume, prompts, segmenter, WINDOW)
    found.label_map.require_same_grid(volume)
    assert np.array_equal(found.label_map.affine, volume.affine)
    assert found.label_map.labels == {1: "liver", 2: "spleen"}
    assert not found.label_map.voxels[:, :, [0, 1, 8]].any()
    assert not found.label_map.mask("liver")[:, :, 7].any()
    assert not found.label_map.mask("spleen")[:, :, 2:5].any()
    assert found.label_map.voxels[:, :, 2:8].any()
    assert set(found.predicted_iou) == {("liver", k) for k in range(2, 7)} | {
        ("spleen", k) for k in range(5, 8)
    }
    assert found.seconds_per_slice > 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_masks_are_those_of_the_slices_one_by_one(segmenter, volume, axis):
    box = np.array([[8, 6, 1], [30, 24, 7]])
    box[:, axis] = 3
    prompts = VolumePrompts(plane_across(volume.affine, axis), (boxed("organ", *box.ravel()),))
    found = segment_volume(volume, prompts, segmenter, WINDOW).label_map
    slice_ = cut_slice(volume, prompts.plane, 3)
    (alone,) = segmenter.segment(slice_, WINDOW, list(prompts.on_slice(slice_).values()))
    assert np.array_equal(prompts.plane.picture(found.voxels, 3) == 1, alone.mask)
    assert found.voxels.sum() == alone.mask.sum()


def test_where_masks_overlap_the_highest_logit_wins(segmenter, volume):
    prompts = VolumePrompts(
        plane_across(volume.affine, 2),
        (boxed("a", 4, 4, 4, 30, 28, 4), boxed("b", 10, 8, 4, 36, 30, 4)),
    )
    slice_ = cut_slice(volume, prompts.plane, 4)
    a, b = segmenter.segment(slice_, WINDOW, list(prompts.on_slice(slice_).values()))
    assert (a.mask & b.mask).any()
    found = segment_volume(volume, prompts, segmenter, WINDOW).label_map
    picture = prompts.plane.picture(found.voxels, 4)
    assert np.array_equal(picture == 1, a.mask & (~b.mask | (a.logits >= b.logits)))
    assert np.array_equal(picture == 2, b.mask & (~a.mask | (b.logits > a.logits)))


def test_nothing_asked_is_refused(segmenter, volume):
    prompts = VolumePrompts(plane_across(volume.affine, 2), ())
    with pytest.raises(PromptError, match="Nothing to segment"):
        segment_volume(volume, prompts, segmenter, WINDOW)


def test_a_box_outside_is_refused_before_any_work(segmenter, volume):
    prompts = VolumePrompts(plane_across(volume.affine, 2), (boxed("x", 0, 0, 0, 99, 3, 3),))
    with pytest.raises(PromptError, match=r"\[99, 3, 3\] lies outside the image"):
        segment_volume(volume, prompts, segmenter, WINDOW)
