"""An adapter's own labels are doubted: boxes, presence, and which scores count."""

from dataclasses import replace

import numpy as np
import pytest
from cobot.adapters.store import AdapterStore
from cobot.auto.files import FILE_NAME, LabelPrompts, write_label_prompts
from cobot.checksum import file_sha256
from cobot.errors import AdapterError
from cobot.intensity import IntensityWindow, window_rule
from cobot.planes import plane_across
from cobot.selection.box_jitter import BoxJitter
from cobot.selection.label_boxes import LabelBoxes
from cobot.selection.proposals import GridClicks
from cobot.selection.score_case import ScoreSettings, score_case
from cobot.selection.score_store import ScoreStore
from cobot.server.following import FollowedStore
from cobot.server.scored_model import WantedScores

OTHER_WINDOW = IntensityWindow(0, 1)
JITTER = BoxJitter(draws=2)


def scored(volume, model, prompts, slices=7):
    settings = ScoreSettings(slices, LabelBoxes(prompts, "0" * 64), JITTER)
    # A plane and a window that the labels were not learnt in are of no account.
    plane = plane_across(volume.affine, 0)
    return score_case(volume, plane, OTHER_WINDOW, model.segmenter, settings)


def test_each_label_has_a_score_with_its_presence(model, learnt, shapes_volume):
    found = scored(shapes_volume, model, learnt)
    assert set(found.objects) == {"ball", "rod"}
    for one in found.objects.values():
        assert 0 <= one.disagreement <= 1
        assert 0 < one.presence <= 1
    grid = ScoreSettings(7, GridClicks(across=2), JITTER)
    plane = plane_across(shapes_volume.affine, 2)
    window = IntensityWindow(-200, 300)
    by_grid = score_case(shapes_volume, plane, window, model.segmenter, grid)
    np.testing.assert_array_equal(found.vector, by_grid.vector)


def test_each_window_shows_its_own_labels(model, learnt, shapes_volume):
    task = learnt.settings.task
    windows = {**task.windows, "ball": window_rule("-150,250", shapes_volume)}
    apart = replace(learnt.settings, task=replace(task, windows=windows))
    prompts = LabelPrompts(apart, learnt.prompter)
    plane = plane_across(shapes_volume.affine, 2)
    shown = LabelBoxes(prompts, "0").shown(shapes_volume, plane, OTHER_WINDOW)
    assert set(shown.windows.values()) == {("ball",), ("rod",)}
    assert set(scored(shapes_volume, model, prompts).objects) == {"ball", "rod"}


@pytest.fixture
def store(tmp_path, adapter):
    found = AdapterStore(tmp_path / "store")
    found.activate(found.publish(adapter).name)
    return found


def wanted(store, tmp_path):
    source = FollowedStore(tmp_path / "store")
    return WantedScores(ScoreStore(tmp_path / "scores"), source, lambda: "0" * 64)


def test_scores_change_when_a_version_learns_its_labels(store, tmp_path, learnt, shapes):
    scores = wanted(store, tmp_path)
    image = sorted(shapes.glob("image_*"))[0]
    before = scores.model()
    assert before.settings.proposer == GridClicks()
    folder = store.show("v0001").folder
    write_label_prompts(folder, learnt)
    after = scores.model()
    assert file_sha256(folder / FILE_NAME) in after.settings.proposer.name
    assert after.adapter_sha256 == before.adapter_sha256
    assert scores.key(image, after).digest != scores.key(image, before).digest
    assert scores.model() is after, "they are read once"


def test_damaged_label_prompts_are_told(store, tmp_path, shapes):
    (store.show("v0001").folder / FILE_NAME).write_bytes(b"nothing")
    scores = wanted(store, tmp_path)
    with pytest.raises(AdapterError, match="learn them again"):
        scores.model()
    image = sorted(shapes.glob("image_*"))[0]
    assert scores.of({"a": image}) == {"a": None}
