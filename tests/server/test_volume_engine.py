"""Whole structures from clicks: what a click costs, what it changes, and what is told of it."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pytest
import torch
from cobot.errors import PromptError, WindowError
from cobot.planes import Plane
from cobot.prompts import ObjectPrompts, Prompts
from cobot.propagate import Propagation, Seeds
from cobot.propagate_rule import PropagationRule
from cobot.propagate_walk import PropagatedSlice, WalkEnd
from cobot.sam.build import build, encoder_shape
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import LoadedSam
from cobot.server.engine import SliceEngine
from cobot.server.volume_engine import VolumeEngine
from cobot.server.volume_merge import merge_structures
from cobot.server.volume_report import end_in_words, least_certain, structure_report, volume_notes
from cobot.volume import Volume

SHAPE = (40, 48, 8)
OBLIQUE = np.array([[-2, 0.1, 0, 30], [0.1, -2, 0.2, 40], [0, 0.2, 5, -9], [0, 0, 0, 1.0]])
EVERYWHERE = PropagationRule(
    least_predicted_iou=0.0, least_likeness=0.0, least_overlap=0.0, largest_ratio=1e9
)
"""Random weights answer at random: no limit may stand in the way of counting."""


@dataclass
class Clock:
    """A time that the test sets; it moves on each time it is looked at."""

    now: float = 0.0
    step: float = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture(scope="module")
def segmenter():
    torch.manual_seed(0)
    loaded = LoadedSam(build("tiny"), encoder_shape("tiny"), "0" * 64)
    return SliceSegmenter(loaded, options=SegmenterOptions(side_px=64))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def engine(segmenter, clock):
    return VolumeEngine(SliceEngine(lambda: segmenter), rule=EVERYWHERE, clock=clock)


@pytest.fixture
def study(engine, tmp_path):
    voxels = np.full(SHAPE, -1000, np.int16)
    voxels[8:32, 8:40] = 20
    voxels[14:24, 16:28, 1:7] = 150
    voxels += np.random.default_rng(0).integers(-5, 5, SHAPE).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, OBLIQUE), tmp_path / "a.nii.gz")
    return engine.slices.read(tmp_path / "a.nii.gz")


def target(*points, label="block", off=(), box=None):
    given = np.array([*points, *off], np.int64).reshape(-1, 3)
    signs = np.arange(len(given)) < len(points)
    return ObjectPrompts(label, given, signs, box)


BOX = np.array([[14, 16, 3], [23, 27, 3]])


def test_the_answer_lies_on_the_grid_and_a_click_asks_only_what_it_can_change(engine, study):
    one = engine.segment(study, [target(box=BOX)], "auto", 60.0)
    one.label_map.require_same_grid(study.volume)
    assert one.label_map.voxels.dtype == np.uint8
    assert one.prompted == {"block": (3,)}
    reached = len(one.structures["block"].slices)
    assert reached > 2
    assert one.spent.slices_encoded == one.spent.slices_answered >= reached
    again = engine.segment(study, [target(box=BOX)], "auto", 60.0)
    assert (again.spent.slices_encoded, again.spent.slices_answered) == (0, 0)
    # A background click on slice 5: that slice and those after it, without encoding.
    off = engine.segment(study, [target(box=BOX, off=[[10, 10, 5]])], "auto", 60.0)
    assert off.spent.slices_encoded == 0
    assert 1 <= off.spent.slices_answered <= 3
    assert (off.label_map.voxels[:, :, :5] == one.label_map.voxels[:, :, :5]).all()
    # Deleted, it is gone: bit for bit the answer of before, and that of one who never clicked.
    back = engine.segment(study, [target(box=BOX)], "auto", 60.0)
    assert back.spent.slices_answered == 0
    assert back.label_map.voxels.tobytes() == one.label_map.voxels.tobytes()
    assert back.structures["block"].confidence == one.structures["block"].confidence


def test_memory_changes_no_answer(engine, study, segmenter, clock):
    asked = [target([18, 20, 3], [19, 21, 6], off=[[10, 10, 5]])]
    engine.segment(study, [target([18, 20, 3])], "auto", 60.0)
    warm = engine.segment(study, asked, "auto", 60.0)
    fresh = VolumeEngine(SliceEngine(lambda: segmenter), 0, EVERYWHERE, clock)
    alone = fresh.segment(study, asked, "auto", 60.0)
    assert alone.spent.slices_answered > warm.spent.slices_answered
    assert warm.label_map.voxels.tobytes() == alone.label_map.voxels.tobytes()
    assert warm.structures["block"].ends == alone.structures["block"].ends


def test_another_window_is_another_answer(engine, study):
    engine.segment(study, [target(box=BOX)], "auto", 60.0)
    other = engine.segment(study, [target(box=BOX)], "spleen", 60.0)
    assert other.spent.slices_encoded > 0


def test_time_that_is_up_leaves_what_is_ready_and_the_next_request_goes_on(engine, study, clock):
    clock.step = 1.0
    cut = engine.segment(study, [target(box=BOX)], "auto", 2.5)
    assert list(cut.structures["block"].slices) == [2, 3, 4], "the prompted slice, one each way"
    (note,) = volume_notes(cut, 2.5)
    assert note.startswith("Not finished: 2 of 2 walks were stopped by time_cap_s 2.5. Ask again")
    ends = structure_report(cut.structures["block"], cut.prompted["block"])["ends"]
    assert ends[0]["text"] == "From slice 3 downwards in k: time was up before slice 1."
    more = engine.segment(study, [target(box=BOX)], "auto", 2.5)
    assert list(more.structures["block"].slices) == [1, 2, 3, 4, 5]
    assert more.spent.slices_answered == 2
    clock.step = 0.0
    whole = engine.segment(study, [target(box=BOX)], "auto", 2.5)
    assert volume_notes(whole, 2.5) == []


def test_structures_are_answered_together_as_each_alone(engine, study):
    first, second = target(box=BOX), target([10, 12, 4], label="tissue")
    both = engine.segment(study, [first, second], "auto", 60.0)
    assert set(both.structures) == {"block", "tissue"}
    assert set(both.label_map.labels.values()) <= {"block", "tissue"}
    assert list(both.label_map.labels) == list(range(1, len(both.label_map.labels) + 1))
    alone = engine.segment(study, [second], "auto", 60.0)
    assert alone.spent.slices_answered == 0
    assert alone.structures["tissue"].confidence == both.structures["tissue"].confidence


def test_refusals(engine, study):
    with pytest.raises(PromptError, match="Nothing to propagate"):
        engine.segment(study, [target(off=[[10, 10, 5]])], "auto", 60.0)
    with pytest.raises(PromptError, match="'block'.*outside the image"):
        engine.segment(study, [target([99, 1, 1])], "auto", 60.0)
    with pytest.raises(WindowError, match="Unknown window"):
        engine.segment(study, [target(box=BOX)], "bright", 60.0)


def found(columns: slice, logit: float, index: int = 0, iou: float = 0.9) -> Propagation:
    mask = np.zeros((4, 6), bool)
    mask[:, columns] = True
    logits = np.where(mask, logit, -1).astype(np.float32)
    one = PropagatedSlice(index, mask, logits, iou, 1.0, 1.0, 5.0)
    return Propagation({index: one}, (WalkEnd(0, 1, index + 1, "empty"),))


def merged(structures, **clicks):
    volume = Volume(np.zeros((6, 4, 2), np.int16), np.diag([-1.0, -1, 1, 1]))
    plane = Plane(axis=2, row_axis=1, col_axis=0, flip_rows=False, flip_cols=False)
    box = np.array([0.0, 0, 1, 1])
    seeds = {
        name: Seeds({0: Prompts(np.array(at), np.ones(len(at), bool))})
        if (at := clicks.get(name))
        else Seeds({0: Prompts(box_xyxy=box)})
        for name in structures
    }
    return merge_structures(structures, seeds, plane, volume)


def test_an_overlap_goes_to_the_higher_logit_or_to_who_was_clicked_in_it():
    two = {"a": found(slice(0, 4), 1.0), "b": found(slice(2, 6), 2.0)}
    assert merged(two).voxels[:, 0, 0].tolist() == [1, 1, 2, 2, 2, 2]
    assert merged(two, a=[[3.0, 1.0]]).voxels[:, 0, 0].tolist() == [1, 1, 1, 1, 2, 2]
    assert merged(two, a=[[1.0, 1.0]]).voxels[:, 0, 0].tolist() == [1, 1, 2, 2, 2, 2]
    both = merged(two, a=[[3.0, 1.0]], b=[[2.0, 0.0]])
    assert both.voxels[:, 0, 0].tolist() == [1, 1, 2, 2, 2, 2], "no one's alone: the logits"


def test_values_have_no_gap_when_a_structure_is_left_with_nothing():
    three = {"a": found(slice(0, 2), 1.0), "b": found(slice(2, 4), 1.0)}
    hidden = {**three, "c": found(slice(2, 4), 0.5), "d": found(slice(4, 6), 1.0, index=1)}
    map_ = merged({"c": hidden["c"], **hidden})
    assert map_.labels == {1: "a", 2: "b", 3: "d"}
    assert map_.voxels[:, 0, 0].tolist() == [1, 1, 2, 2, 0, 0]
    assert map_.voxels[:, 0, 1].tolist() == [0, 0, 0, 0, 3, 3]


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (WalkEnd(4, -1, 2, "edge"), "From slice 4 downwards in k: met the prompted slice 2."),
        (WalkEnd(2, -1, -1, "edge"), "From slice 2 downwards in k: reached the end of the volume."),
        (WalkEnd(4, 1, 6, "unlike"), "grey values on slice 6 were unlike"),
        (WalkEnd(4, 1, 6, "jump"), "area on slice 6 differed too much"),
    ],
)
def test_ends_in_plain_words(end, words):
    assert words in end_in_words(end, [2, 4])


def test_the_least_certain_slice_of_all_structures(engine, study):
    answer = engine.segment(study, [target(box=BOX), target([10, 12, 4], label="t")], "auto", 60.0)
    told = least_certain(answer)
    every = [
        one.confidence
        for structure in answer.structures.values()
        for one in structure.slices.values()
        if one.distance_mm > 0
    ]
    assert told["confidence"] == round(min(every), 4)
    assert told["slice"] in answer.structures[told["label"]].slices
