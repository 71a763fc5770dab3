"""Scoring a volume with a real, small model: what is asked, in which order, and what comes out."""

import numpy as np
import pytest
import torch
from cobot.auto.first_pass import ShownVolume
from cobot.intensity import IntensityWindow
from cobot.planes import plane_across
from cobot.sam.build import build, encoder_shape
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import LoadedSam
from cobot.selection.asked_slice import AskedSlice
from cobot.selection.box_jitter import BoxJitter, trained_jitter
from cobot.selection.proposals import GridClicks, ProposedBox
from cobot.selection.score_case import ScoreSettings, score_box, score_case, score_slices
from cobot.slicing import cut_slice
from cobot.volume import Volume

WINDOW = IntensityWindow(-200, 300)


@pytest.fixture(scope="module")
def segmenter():
    torch.manual_seed(0)
    loaded = LoadedSam(build("tiny"), encoder_shape("tiny"), "0" * 64)
    return SliceSegmenter(loaded, options=SegmenterOptions(side_px=64))


@pytest.fixture(scope="module")
def volume():
    """A grey body in air, with a bright block in it."""
    voxels = np.full((48, 40, 5), -1000, np.int16)
    voxels[6:42, 6:34] = 20
    voxels[16:26, 14:24, 1:4] = 150
    return Volume(voxels, np.diag([-2.0, -2.0, 5.0, 1.0]))


@pytest.fixture(scope="module")
def asked(segmenter, volume):
    slice_ = cut_slice(volume, plane_across(volume.affine, 2), 2)
    view = segmenter.view(slice_, WINDOW)
    return AskedSlice(segmenter, view, segmenter.encode([view])[0], 2)


class BlockBox:
    """Knows where the block is, and the whole body."""

    name = "known"

    def shown(self, volume, plane, window):
        return ShownVolume(volume, plane, {window: ("block", "more")})

    def propose(self, asked):
        block = np.array([16.0, 14.0, 25.0, 23.0])
        return [ProposedBox(block, "block", 0.5), ProposedBox(block + [-4, -4, 4, 4], "more")]


def scored(volume, segmenter, settings, turn=lambda: None):
    plane = plane_across(volume.affine, 2)
    return score_case(volume, plane, WINDOW, segmenter, settings, turn)


def test_labels_get_scores_and_the_volume_a_vector(volume, segmenter):
    found = scored(volume, segmenter, ScoreSettings(3, BlockBox()))
    assert set(found.objects) == {"block", "more"}
    assert (found.objects["block"].presence, found.objects["more"].presence) == (1, 0)
    assert all(0 <= one.disagreement <= 1 for one in found.objects.values())
    channels = encoder_shape("tiny").prompt_dim
    assert found.vector.shape == (2 * channels,)
    again = scored(volume, segmenter, ScoreSettings(3, BlockBox()))
    assert again.objects == found.objects


def test_boxes_that_do_not_move_bring_no_disagreement(asked):
    class Still(BoxJitter):
        def _moved(self, box, frame, rng):
            return box

    (box, _) = BlockBox().propose(asked)
    assert score_box(box, asked, Still(draws=3), 0).disagreement == 0


@pytest.mark.parametrize("style", ["shaken", "paper"])
def test_moved_boxes_stay_in_what_the_encoder_saw(asked, style):
    region = asked.view.frame.region
    assert region.shape < asked.view.frame.shape
    corner = np.array([region.col_start, region.row_start, region.col_stop, region.row_stop])
    for number in range(20):
        for given in BoxJitter(style).prompts(corner.astype(float), asked, number):
            assert region.contains(given.box_xyxy.reshape(2, 2))
    box = np.array([16.0, 14.0, 25.0, 23.0])
    outwards = [p.box_xyxy - box for p in BoxJitter("paper", 30).prompts(box, asked, 0)]
    assert (np.array(outwards)[:, :2] <= 0).all()
    assert (np.array(outwards)[:, 2:] >= 0).all()


def test_the_jitter_is_that_of_the_training():
    assert trained_jitter({"prompts": "box"}) == "paper"
    assert trained_jitter({"prompts": "box+clicks"}) == "shaken"


def test_the_grid_lies_on_the_body_and_masks_of_sane_size_are_kept(asked):
    clicks = GridClicks(across=4).clicks(asked)
    assert 0 < len(clicks) <= 16
    assert asked.view.frame.region.contains(clicks)
    assert (asked.view.unit[clicks[:, 1].astype(int), clicks[:, 0].astype(int)] > 0).all()
    lenient = GridClicks(least_predicted_iou=-9.0, most=2)
    assert len(lenient.propose(asked)) <= 2
    assert GridClicks(least_predicted_iou=9.0).propose(asked) == []


def test_each_object_is_kept_once_the_most_believed_first(asked):
    from cobot.sam.answer import SliceMask

    def answer(rows, iou):
        mask = np.zeros(asked.view.unit.shape, bool)
        mask[rows, 10:20] = True
        return SliceMask(mask, np.zeros(mask.shape, np.float32), np.zeros((1, 1), np.float32), iou)

    good, twin = answer(slice(10, 20), 0.9), answer(slice(10, 19), 0.8)
    other, doubtful = answer(slice(25, 30), 0.7), answer(slice(32, 36), 0.3)
    whole = answer(slice(0, 40), 0.95)
    huge = SliceMask(np.ones_like(whole.mask), whole.logits, whole.low_res_logits, 0.99)
    kept = GridClicks().kept([twin, doubtful, other, huge, good], asked)
    assert [mask.sum() for mask in kept] == [100, 50]


def test_a_turn_is_asked_before_every_piece_of_work_and_may_end_it(volume, segmenter):
    turns = []
    scored(volume, segmenter, ScoreSettings(2, BlockBox()), lambda: turns.append(1))
    # Two slices, and on each two boxes of four draws: one embedding and two questions a slice.
    assert len(turns) == 6

    class Ended(Exception):
        pass

    def end():
        raise Ended

    with pytest.raises(Ended):
        scored(volume, segmenter, ScoreSettings(2, BlockBox()), end)


def test_where_nothing_is_found_the_case_is_one_to_look_at(asked):
    found = score_slices([asked], ScoreSettings(proposer=GridClicks(least_predicted_iou=9.0)))
    assert found.objects == {}
    assert found.uncertainty() == 1
