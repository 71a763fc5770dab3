"""Scores outlive the process, belong to one model, and damage is noticed."""

from dataclasses import replace

import numpy as np
import pytest
from cobot.selection.case_scores import CaseScores, ObjectScore, ScoreKey
from cobot.selection.score_store import ScoreStore

KEY = ScoreKey("stamp", "0" * 64, "1" * 64, "slices=8")
SCORES = CaseScores({"liver": ObjectScore(0.25, 0.5, 1.0)}, np.array([1, 2, 3], np.float32))


@pytest.fixture
def folder(tmp_path):
    ScoreStore(tmp_path / "scores").put("Doe, Jane", KEY, SCORES)
    return tmp_path / "scores"


def test_they_survive_a_restart_and_name_no_patient(folder):
    found = ScoreStore(folder).get("Doe, Jane", KEY)
    assert found.objects == SCORES.objects
    assert found.vector.tolist() == [1, 2, 3]
    (file,) = folder.iterdir()
    assert "Doe" not in file.name
    assert b"Doe" not in file.read_bytes()


@pytest.mark.parametrize("part", ["image", "base_sha256", "adapter_sha256", "settings"])
def test_scores_of_another_image_model_or_setting_are_not_used(folder, part):
    other = replace(KEY, **{part: "2" * 64})
    store = ScoreStore(folder)
    assert store.get("Doe, Jane", other) is None
    assert store.get("Doe, Jane", KEY) is not None
    store.put("Doe, Jane", other, SCORES)
    assert store.get("Doe, Jane", KEY) is None
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("left", [0, 10, 0.5, 0.99])
def test_a_truncated_file_is_dropped_and_can_be_written_again(folder, left):
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: int(left if left > 1 else left * len(whole))])
    store = ScoreStore(folder)
    assert store.get("Doe, Jane", KEY) is None
    assert not file.exists()
    store.put("Doe, Jane", KEY, SCORES)
    assert ScoreStore(folder).get("Doe, Jane", KEY) is not None


def test_an_image_that_was_never_scored_has_none(tmp_path):
    assert ScoreStore(tmp_path / "none").get("a", KEY) is None


def test_uncertainty_of_a_volume_is_the_mean_over_its_labels():
    both = {"a": ObjectScore(0.2, 0.9), "b": ObjectScore(0.6, 0.5, 0.5)}
    scores = CaseScores(both, SCORES.vector)
    assert scores.uncertainty() == pytest.approx(0.4)
    assert scores.uncertainty("predicted_iou") == pytest.approx(0.3)
    assert scores.uncertainty("presence") == pytest.approx(0.25)
    assert scores.uncertainty(label="b") == pytest.approx(0.6)
    assert CaseScores({}, SCORES.vector).uncertainty() == 1
