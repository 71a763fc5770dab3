"""The scoring thread with a real, small model: what it does, when it waits, and what it leaves."""

import threading
import time

import nibabel as nib
import numpy as np
import pytest
import torch
from cobot.errors import AdapterError
from cobot.sam.build import build, encoder_shape
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import LoadedSam
from cobot.selection.box_jitter import BoxJitter
from cobot.selection.proposals import GridClicks
from cobot.selection.score_case import ScoreSettings
from cobot.selection.score_store import ScoreStore
from cobot.server.engine import SliceEngine
from cobot.server.following import BaseAlone
from cobot.server.scored_model import WantedScores
from cobot.server.scoring import BackgroundScoring, lower_priority

QUICK = ScoreSettings(2, GridClicks(across=2), BoxJitter(draws=2))


@pytest.fixture
def made():
    return []


@pytest.fixture
def engine(made):
    def make():
        made.append(threading.current_thread().name)
        torch.manual_seed(0)
        loaded = LoadedSam(build("tiny"), encoder_shape("tiny"), "0" * 64)
        return SliceSegmenter(loaded, options=SegmenterOptions(side_px=64))

    return SliceEngine(make)


@pytest.fixture
def images(tmp_path):
    found = {}
    for number in range(2):
        voxels = np.full((32, 32, 3), -1000, np.int16)
        voxels[2:30, 2:30] = 20 + 50 * number
        found[f"case {number}"] = tmp_path / f"case {number}.nii.gz"
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), found[f"case {number}"])
    return found


@pytest.fixture
def wanted(tmp_path):
    return WantedScores(
        ScoreStore(tmp_path / "scores"), BaseAlone(), lambda: "0" * 64, settings=QUICK
    )


@pytest.fixture
def start(engine, wanted, images):
    """Starts scorers, and ends them."""
    started = []

    def begin(scores=wanted, in_use=engine.in_use, busy=lambda: False):
        started.append(BackgroundScoring(scores, in_use, lambda: images, busy, quiet_s=0.0))
        return started[-1]

    yield begin
    for one in started:
        one.close()


def wait_for(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_image_is_scored_and_a_restart_loads_no_model(start, images, made, engine):
    scoring = start()
    scoring.start()
    wait_for(lambda: scoring.status().scored == 2)
    assert made == ["scoring"]
    scoring.close()
    assert not any(thread.name == "scoring" for thread in threading.enumerate())
    again = start(in_use=lambda: pytest.fail("the model was asked for"))
    again.start()
    wait_for(lambda: again.status().scored == 2)
    again.close()
    assert again.status().trouble == ""


def test_it_waits_while_a_request_is_answered(start, wanted, made):
    scoring = start()
    with scoring.paused(), scoring.paused():
        scoring.start()
        time.sleep(0.3)
        assert made == []
        assert scoring.status().scored == 0
    wait_for(lambda: scoring.status().scored == 2)


def test_it_rests_while_a_training_runs(start, made):
    scoring = start(busy=lambda: True)
    scoring.start()
    time.sleep(0.3)
    assert made == []
    scoring.close()


def test_it_ends_while_it_waits(start):
    scoring = start()
    with scoring.paused():
        scoring.start()
        scoring.close()
    scoring.start()
    assert not any(thread.name == "scoring" for thread in threading.enumerate())


def test_a_damaged_image_is_told_and_the_others_go_on(start, images):
    images["case 0"].write_bytes(b"no image")
    scoring = start()
    scoring.start()
    wait_for(lambda: scoring.status().scored == 1 and scoring.status().unreadable)
    assert scoring.status().unreadable == ("case 0",)
    voxels = np.full((32, 32, 3), 20, np.int16)
    voxels[8:20, 8:20] = 90
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), images["case 0"])
    scoring.wake()
    wait_for(lambda: scoring.status().scored == 2)
    assert scoring.status().unreadable == ()


def test_images_that_come_are_scored_too(start, images, tmp_path):
    late = images.pop("case 1")
    scoring = start()
    scoring.start()
    wait_for(lambda: scoring.status().scored == 1)
    images["case 1"] = late
    scoring.wake()
    wait_for(lambda: scoring.status().scored == 2)


def test_a_truncated_score_is_dropped_and_computed_again(start, images, tmp_path, wanted):
    scoring = start()
    scoring.start()
    wait_for(lambda: scoring.status().scored == 2)
    scoring.close()
    file = sorted((tmp_path / "scores").iterdir())[0]
    file.write_bytes(file.read_bytes()[:100])
    fresh = WantedScores(
        ScoreStore(tmp_path / "scores"), BaseAlone(), lambda: "0" * 64, settings=QUICK
    )
    assert sum(one is None for one in fresh.of(images).values()) == 1
    again = start(fresh)
    again.start()
    wait_for(lambda: again.status().scored == 2)


def test_a_model_that_cannot_be_told_is_said(start, tmp_path):
    class Broken:
        required = False

        def wanted(self):
            raise AdapterError("active.json is damaged")

        def read(self, version):
            raise AssertionError

        def folder(self, version):
            raise AssertionError

    scores = WantedScores(ScoreStore(tmp_path / "s"), Broken(), lambda: "0" * 64)
    scoring = start(scores)
    scoring.start()
    assert scoring.status().trouble == "active.json is damaged"
    assert scoring.status().scored == 0


def test_the_thread_gives_way_to_others():
    import os
    import sys

    found = []

    def run():
        lower_priority(3)
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    before = os.getpriority(os.PRIO_PROCESS, 0)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [min(19, before + 3) if sys.platform == "linux" else before]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
