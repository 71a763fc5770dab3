"""A trainer called as MONAI Label's process calls it, on phantoms too small to take time."""

import importlib
import json
import pickle
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cobot.adapters.store import AdapterStore
from cobot.errors import ConfigError, GridMismatchError
from cobot.server.training_report import read_report
from cobot.training.task import TrainingTask
from filelock import FileLock

APP = Path(__file__).parents[2] / "apps" / "cobot_sam"
TASK = TrainingTask("discs", {1: "rod", 2: "ball"}, cut="k").shown_in("-200,300")
QUICK = {"method": "lightweight", "max_epochs": 1, "side_px": 32, "rounds": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def trainer_module():
    """The app's module, found as MONAI Label's loader finds it; forgotten afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(APP))
        yield importlib.import_module("lib.trainers.adapter_trainer")
    for name in [name for name in sys.modules if name == "lib" or name.startswith("lib.")]:
        del sys.modules[name]


@pytest.fixture
def make(trainer_module, tmp_path):
    """A trainer on a clinic's folder in which each case has a ball (submitted as 1) in a body."""

    def made(cases: int = 3, label_shape=(24, 24, 4)):
        studies = tmp_path / "studies"
        final = studies / "labels" / "final"
        final.mkdir(parents=True)
        objects = {}
        for number in range(cases):
            hu = np.full((24, 24, 4), -1000, np.int16)
            hu[2:22, 2:22] = np.random.default_rng(number).integers(-9, 9, (20, 20, 4))
            label = np.zeros(label_shape, np.uint8)
            hu[8:14, 8 : 14 + number, 1:3] = 150
            label[8:14, 8 : 14 + number, 1:3] = 1
            for voxels, folder in ((hu, studies), (label, final)):
                image = nib.Nifti1Image(voxels, np.diag([3.0, 3, 6, 1]))
                nib.save(image, folder / f"case_{number}.nii.gz")
            info = {"label_names": {"Ball": 1, "clip": 2}}
            objects[f"case_{number}"] = {"labels": {"final": {"info": info}}}
        (studies / "datastore_v2.json").write_text(json.dumps({"objects": objects}))
        place = trainer_module.TrainingPlace(studies, tmp_path / "store", "tiny", None, "cpu")
        return trainer_module.AdapterTrainer(TASK, place)

    return made


def report_of(tmp_path):
    return read_report(tmp_path / "store" / "trainers" / "discs.json")


def test_it_is_offered_cheaply_and_can_be_sent_to_another_process(make):
    trainer = make()
    info = pickle.loads(pickle.dumps(trainer)).info()
    assert info["description"] == "SAM-COBOT adapters for rod, ball, from submitted labels"
    assert info["config"]["device"][0] == "cpu"
    json.dumps(info)
    assert trainer.stats() == {}


def test_a_training_ends_with_figures_that_monai_label_can_log(make, tmp_path):
    trainer = make()
    trainer.get_ready(dict(QUICK))
    assert report_of(tmp_path).state == "starting"
    result = trainer({**QUICK, "model": "discs", "local_rank": 0, "gpus": "all"}, None)
    json.dumps(result, allow_nan=False)
    stats = trainer.stats()
    assert stats["state"] in ("published", "not better")
    assert (stats["version"] == "v0001") == (stats["state"] == "published")
    assert (stats["epoch"], stats["total_epochs"]) == (1, 1)
    assert stats["total_time"]
    assert "clip" in stats["notes"][0]
    assert result["champion"] == "base"
    assert 0 <= result["dice"] <= 1
    assert len(AdapterStore(tmp_path / "store").versions()) == (stats["version"] is not None)


def test_too_few_cases_are_refused_before_a_process_starts(make, tmp_path):
    with pytest.raises(ConfigError, match=r"needs 3 labelled studies.*2 with rod, ball.*1 more"):
        make(cases=2).get_ready({})
    assert report_of(tmp_path) is None


def test_going_on_with_no_active_version_is_refused_before_a_process_starts(make, tmp_path):
    with pytest.raises(ConfigError, match="switch the option continue_active off"):
        make().get_ready({"continue_active": 1})
    assert report_of(tmp_path) is None


def test_a_failure_is_told_to_who_looks(make, tmp_path):
    trainer = make(label_shape=(24, 24, 3))
    with pytest.raises(GridMismatchError):
        trainer(dict(QUICK), None)
    stats = trainer.stats()
    assert stats["state"] == "failed"
    assert "is not on the image's grid" in stats["message"]


@pytest.mark.parametrize(
    "begin",
    [lambda trainer: trainer.get_ready(dict(QUICK)), lambda trainer: trainer(dict(QUICK), None)],
    ids=["asked", "begun"],
)
def test_two_servers_on_one_store_take_turns(make, tmp_path, trainer_module, monkeypatch, begin):
    """The report of the training that runs is not replaced."""
    trainer = make()
    monkeypatch.setattr(trainer_module, "LOCK_WAIT_S", 0.1)
    (tmp_path / "store").mkdir()
    with (
        FileLock(tmp_path / "store" / trainer_module.LOCK_NAME),
        pytest.raises(ConfigError, match="Another server's training writes to"),
    ):
        begin(trainer)
    assert report_of(tmp_path) is None
