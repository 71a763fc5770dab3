"""The engine behind the clicks: what it remembers, and that memory never changes an answer."""

import os

import nibabel as nib
import numpy as np
import pytest
import torch
from cobot.errors import ImageReadError, PromptError, WindowError
from cobot.prompts import ObjectPrompts
from cobot.sam.build import build, encoder_shape
from cobot.sam.segmenter import SliceSegmenter
from cobot.sam.weights import LoadedSam
from cobot.server.engine import SliceEngine

SHAPE = (40, 48, 6)
OBLIQUE = np.array([[-2, 0.1, 0, 30], [0.1, -2, 0.2, 40], [0, 0.2, 5, -9], [0, 0, 0, 1.0]])


@pytest.fixture
def made():
    return []


@pytest.fixture
def engine(made):
    def make():
        made.append(1)
        torch.manual_seed(0)
        return SliceSegmenter(LoadedSam(build("tiny"), encoder_shape("tiny"), "0" * 64))

    return SliceEngine(make)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "a.nii.gz"
    write(path, seed=0)
    return path


def write(path, seed):
    """A bright block in soft tissue in air, with noise."""
    voxels = np.full(SHAPE, -1000, np.int16)
    voxels[8:32, 8:40] = 20
    voxels[14:24, 16:28, 1:5] = 150
    voxels += np.random.default_rng(seed).integers(-5, 5, SHAPE).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, OBLIQUE), path)


def clicks(*points):
    return ObjectPrompts("block", np.array(points), np.ones(len(points), bool))


def test_nothing_is_loaded_before_the_first_click_and_then_once(engine, made, image):
    study = engine.read(image)
    assert made == []
    for _ in range(2):
        engine.segment(study, 3, clicks([18, 20, 3]), "auto")
    assert made == [1]


def test_a_second_click_on_a_slice_does_not_encode_again(engine, image):
    study = engine.read(image)
    first = engine.segment(study, 3, clicks([18, 20, 3]), "auto")
    again = engine.segment(study, 3, clicks([18, 20, 3]), "auto")
    assert (first.encoder_cached, again.encoder_cached) == (False, True)
    assert again.seconds["encode"] == 0
    assert (first.label_map.voxels == again.label_map.voxels).all()
    assert not engine.segment(study, 2, clicks([18, 20, 2]), "auto").encoder_cached
    assert not engine.segment(study, 3, clicks([18, 20, 3]), "spleen").encoder_cached


def test_the_answer_lies_on_the_grid_in_its_slice(engine, image):
    study = engine.read(image)
    answer = engine.segment(study, 3, clicks([18, 20, 3], [22, 24, 3]), "auto")
    answer.label_map.require_same_grid(study.volume)
    assert answer.label_map.voxels.dtype == np.uint8
    assert not np.delete(answer.label_map.voxels, 3, axis=2).any()
    assert answer.label_map.labels == {1: "block"}
    assert (answer.window.lower, answer.window.upper) == (-160, 240)


def test_a_click_off_the_body_does_not_change_later_answers(engine, image):
    study = engine.read(image)
    before = engine.segment(study, 3, clicks([18, 20, 3]), "auto")
    corner = engine.segment(study, 3, clicks([0, 0, 3], [18, 20, 3]), "auto")
    after = engine.segment(study, 3, clicks([18, 20, 3]), "auto")
    assert not corner.encoder_cached
    assert after.encoder_cached
    assert (before.label_map.voxels == after.label_map.voxels).all()


def test_a_file_that_changed_is_read_again(engine, image):
    first = engine.read(image)
    assert engine.read(image) is first
    write(image, seed=1)
    os.utime(image, ns=(1, 1))
    changed = engine.read(image)
    assert (changed.volume.voxels != first.volume.voxels).any()
    engine.segment(first, 3, clicks([18, 20, 3]), "auto")
    assert not engine.segment(changed, 3, clicks([18, 20, 3]), "auto").encoder_cached


def test_refusals_name_the_cure(engine, image, tmp_path):
    study = engine.read(image)
    with pytest.raises(PromptError, match="no positive click and no box"):
        engine.segment(study, 2, clicks([18, 20, 3]), "auto")
    with pytest.raises(WindowError, match="Unknown window"):
        engine.segment(study, 3, clicks([18, 20, 3]), "bright")
    (tmp_path / "b.nii.gz").write_bytes(b"no image")
    with pytest.raises(ImageReadError, match="b.nii.gz"):
        engine.read(tmp_path / "b.nii.gz")
    with pytest.raises(ImageReadError, match="c.nii.gz"):
        engine.read(tmp_path / "c.nii.gz")
