"""A game of annotation on tiny volumes with a tiny model: what is computed, kept and shared."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from cobot.geometry import check_affine
from cobot.io import write_label_map
from cobot.sam.build import build, encoder_shape
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import LoadedSam
from cobot.selection.proposals import GridClicks
from cobot.selection.rounds import RoundPlan, play
from cobot.selection.score_case import ScoreSettings
from cobot.selection.simulation import SimulatedData, SimulatedTraining, Simulation
from cobot.training.corrections import find_corrections
from cobot.training.hardware import Hardware
from cobot.training.recipe import Recipe
from cobot.training.task import TrainingTask
from cobot.volume import LabelMap

AFFINE = np.diag([3.0, 3.0, 6.0, 1.0])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four bodies with a ball of another size and place each; the last is measured on."""
    folder = tmp_path_factory.mktemp("balls")
    for number in range(4):
        i, j = np.mgrid[:32, :30]
        hu = np.full((32, 30, 3), -1000, np.int16)
        # Of another size each: the ball's slice need not be among those that are looked at.
        hu[3 : 29 - number, 3:27] = 0
        labels = np.zeros(hu.shape, np.uint8)
        labels[(i - 12 - number) ** 2 + (j - 14) ** 2 < 12 + 6 * number, 1] = 1
        hu[labels == 1] = 150
        nib.save(nib.Nifti1Image(hu, AFFINE), folder / f"image_{number}.nii.gz")
        write_label_map(
            LabelMap(labels, check_affine(AFFINE), {1: "ball"}), folder / f"label_{number}.nii.gz"
        )
    found = {one.case: one for one in find_corrections(folder)}
    task = TrainingTask("balls", {1: "ball"}, cut="k").shown_in("-200,300")
    return SimulatedData(
        task, {name: found[name] for name in sorted(found)[:3]}, [found["image_3"]]
    )


@pytest.fixture(scope="module")
def make(data):
    torch.manual_seed(0)
    loaded = LoadedSam(build("tiny"), encoder_shape("tiny"), "0" * 64)
    base = SliceSegmenter(loaded, options=SegmenterOptions(side_px=32))
    changes = {"batch_size": 1, "rounds": 1, "warmup_steps": 0, "decoder_rate": 0.01}
    training = SimulatedTraining(Recipe.named("default", changes), steps=2)

    def game(folder):
        settings = ScoreSettings(2, GridClicks(across=2, least_predicted_iou=-9.0))
        fabric = Hardware(device="cpu", precision="fp32").start()
        return Simulation(data, base, fabric, training, folder, settings)

    return game


def test_a_game_is_played_to_its_end_and_nothing_is_computed_twice(make, tmp_path, monkeypatch):
    game = make(tmp_path)
    cases = sorted(game.data.pool)
    plan = RoundPlan(start=1, each=1, most=3)
    rounds = list(play(game, cases, "hybrid", 0, plan))
    assert [len(one.labelled) for one in rounds] == [1, 2, 3]
    assert all(0 <= one.mean <= 1 for one in rounds)
    # One slice with one structure in each case: from one box to a box and three clicks.
    spent = np.diff([0, *(one.prompts for one in rounds)])
    assert ((spent >= 1) & (spent <= 4)).all()
    names = {path.name for path in (tmp_path / "cells").iterdir()}
    assert "dice-s0-0+1+2.json" in names
    content = json.loads((tmp_path / "cells" / "dice-s0-0+1+2.json").read_text())
    assert (content["labelled"], content["seed"]) == (cases, 0)
    assert not list((tmp_path / "runs").iterdir())

    again = make(tmp_path)
    monkeypatch.setattr(Simulation, "_trained", lambda *args: pytest.fail("trained again"))
    monkeypatch.setattr(Simulation, "_scored", lambda *args: pytest.fail("scored again"))
    assert list(play(again, cases, "hybrid", 0, plan)) == rounds
    # All cases are labelled in the end, in whichever order.
    assert again.dice(cases[::-1], 0) == game.dice(cases, 0)


def test_learning_changes_the_answers_and_a_seed_the_learning(make, tmp_path):
    game = make(tmp_path)
    base = game.dice([], 0)
    assert base == game.dice([], 5)
    assert set(base) == {"image_3"}
    learnt = [game.dice(["image_0"], seed)["image_3"]["ball"] for seed in (0, 1)]
    assert len({base["image_3"]["ball"], *learnt}) > 1


def test_steps_stay_about_the_same_however_many_slices_there_are():
    training = SimulatedTraining(Recipe.named("default", {"batch_size": 4}), steps=40)
    assert [training.epochs(samples) for samples in (1, 40, 400)] == [40, 4, 1]


def test_vectors_tell_cases_apart(make, tmp_path):
    game = make(tmp_path)
    first, second = game.vector("image_0"), game.vector("image_1")
    assert first.shape == second.shape
    assert not np.allclose(first, second)
    assert np.array_equal(first, game.vector("image_0"))
