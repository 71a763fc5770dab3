"""The folder of studies beside its server, where images may be links into a download."""

from datetime import datetime, timezone
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cobot.errors import CobotError
from cobot.io import read_label_map, read_volume
from cobot.server import datastore
from cobot.server.datastore import KeepingDatastore
from cobot.server.predictions import GivenMask, PredictionStore
from cobot.training.corrections import find_corrections


def test_removing_a_linked_image_leaves_the_download(tmp_path):
    download, studies = tmp_path / "download", tmp_path / "studies"
    for folder in (download, studies):
        folder.mkdir()
    for name in ("hard", "symbolic"):
        (download / f"{name}.nii.gz").write_bytes(b"voxels")
    (studies / "hard.nii.gz").hardlink_to(download / "hard.nii.gz")
    (studies / "symbolic.nii.gz").symlink_to(download / "symbolic.nii.gz")
    store = KeepingDatastore(str(studies), auto_reload=False)
    for name in ("hard", "symbolic"):
        assert name in store.list_images()
        store.remove_image(name)
        assert name not in store.list_images()
        assert (download / f"{name}.nii.gz").read_bytes() == b"voxels"
    assert list(studies.glob("*.nii.gz")) == []


SHAPE = (6, 5, 4)
INFO = {"label_info": [{"name": "spleen", "idx": 2}, {"name": "liver", "idx": 3}]}


@pytest.fixture
def clinic(tmp_path):
    """A study on an oblique grid, what the model answered for it, and a label to submit."""
    affine = np.array([[-2, 0.1, 0, 30], [0.1, -2, 0.2, 40], [0, 0.2, 5, -9], [0, 0, 0, 1.0]])
    studies = tmp_path / "studies"
    studies.mkdir()
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.int16), affine), studies / "a.nii.gz")
    label = tmp_path / "label.nii.gz"
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), affine), label)
    predictions = PredictionStore(studies / ".cobot" / "predictions")
    mask = np.zeros(SHAPE[:2], bool)
    mask[2:4] = True
    for name, k, adapter in (("liver", 1, None), ("liver", 2, "v0003"), ("rib", 2, "v0003")):
        now = datetime.now(timezone.utc)
        predictions.keep("a", GivenMask(name, k, mask, adapter, now))
    return studies, KeepingDatastore(str(studies), False, predictions), label


def test_a_label_is_stored_with_the_prediction_it_corrects(clinic):
    studies, store, label = clinic
    store.save_label("a", str(label), "final", dict(INFO))
    (correction,) = find_corrections(studies)
    assert correction.adapter_version == "v0003"
    assert correction.names == ((1, "spleen"), (2, "liver"))
    prediction = read_label_map(correction.prediction)
    prediction.require_same_grid(read_volume(correction.image))
    assert prediction.labels == {1: "spleen", 2: "liver"}
    assert np.unique(prediction.voxels, return_counts=True)[1].tolist() == [100, 20]
    assert prediction.voxels[2:4, :, 1:3].min() == 2
    info = store.get_label_info("a", "final")
    assert [one["adapter"] for one in info["predictions"]["liver"]] == [None, "v0003"]
    assert "rib" not in info["predictions"]
    assert datetime.fromisoformat(info["submitted"]).tzinfo is not None


def test_a_second_label_copies_the_first_and_its_prediction_to_the_history(clinic):
    studies, store, label = clinic
    for _ in range(2):
        store.save_label("a", str(label), "final", dict(INFO))
    kept = sorted(path.name.split("-")[0] for path in (studies / "labels/history/a").iterdir())
    assert kept == ["final", "final", "original", "original"]


def test_a_label_without_an_answer_before_it_says_so_and_needs_none(clinic, tmp_path):
    studies, store, label = clinic
    store.save_label("a", str(label), "final", {"label_info": [{"name": "rip", "idx": 1}]})
    (correction,) = find_corrections(studies)
    assert (correction.prediction, correction.adapter_version) == (None, None)
    assert "submitted" in store.get_label_info("a", "final")


def test_a_prediction_that_cannot_be_kept_does_not_lose_the_label(clinic, monkeypatch):
    studies, store, label = clinic
    monkeypatch.setattr(datastore, "read_grid", lambda path: read_volume(path / "missing"))
    store.save_label("a", str(label), "final", dict(INFO))
    (correction,) = find_corrections(studies)
    assert correction.prediction is None
    assert correction.corrected.read_bytes() == label.read_bytes()


def test_answers_go_with_their_image(clinic):
    studies, store, _ = clinic
    assert len(list((studies / ".cobot" / "predictions").iterdir())) == 1
    store.remove_image("a")
    assert list((studies / ".cobot" / "predictions").iterdir()) == []


def test_what_the_server_keeps_is_neither_image_nor_label(clinic):
    studies, store, label = clinic
    for place in (".cobot", ".cobot/adapters/tiny/v0001"):
        (studies / place).mkdir(parents=True, exist_ok=True)
        (studies / place / "b.nii.gz").write_bytes(label.read_bytes())
    store.refresh()
    assert store.list_images() == ["a"]
    assert store.status()["label_tags"] == {}


def test_a_record_is_replaced_whole_and_read_again_by_another_process(clinic, monkeypatch):
    studies, store, label = clinic
    record = studies / "datastore_v2.json"
    store.save_label("a", str(label), "final", dict(INFO))
    before = record.read_text()

    def full(*_: object, **__: object) -> str:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(CobotError, match="No space left"):
            store.update_label_info("a", "final", {"more": 1})
    assert record.read_text() == before
    store.update_label_info("a", "final", {"more": 2})
    again = KeepingDatastore(str(studies), False, read_only=True)
    assert again.get_label_info("a", "final")["more"] == 2
