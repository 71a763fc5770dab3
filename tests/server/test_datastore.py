"""The folder of studies beside its server, where images may be links into a download."""

import threading
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
from fastapi import HTTPException


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


SWAPPED = {"label_info": INFO["label_info"][::-1]}
AS_SUBMITTED = ((1, "spleen"), (2, "liver"))


def add_study(studies, name):
    (studies / f"{name}.nii.gz").write_bytes((studies / "a.nii.gz").read_bytes())


def test_a_batchs_process_reverts_nothing_that_was_submitted_meanwhile(clinic):
    studies, server, label = clinic
    add_study(studies, "b")
    server.refresh()
    server.save_label("a", str(label), "final", dict(SWAPPED))
    worker = KeepingDatastore(str(studies), False, read_only=True)
    server.save_label("a", str(label), "final", dict(INFO))
    worker.save_label("b", str(label), "original", {"params": {"label_names": {"spleen": 1}}})
    assert [one.names for one in find_corrections(studies)] == [AS_SUBMITTED]
    server.save_label("b", str(label), "final", dict(INFO))
    again = KeepingDatastore(str(studies), False, read_only=True)
    told = again.get_label_info("b", "original")
    assert told["params"] == {"label_names": {"spleen": 1}}
    assert [one.names for one in find_corrections(studies)] == [AS_SUBMITTED, AS_SUBMITTED]


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.update_image_info("a", {"more": 1}),
        lambda store: store.update_label_info("a", "original", {"more": 1}),
        lambda store: store.remove_label("b", "original"),
        lambda store: store.remove_image("b"),
        lambda store: store.add_image("c", store.get_image_uri("a"), {}),
        lambda store: store.refresh(),
    ],
)
def test_no_change_of_the_record_forgets_what_another_process_wrote(clinic, change):
    studies, server, label = clinic
    add_study(studies, "b")
    server.refresh()
    server.save_label("a", str(label), "original", {})
    server.save_label("b", str(label), "original", {})
    stale = KeepingDatastore(str(studies), False, read_only=True)
    server.save_label("a", str(label), "final", dict(INFO))
    add_study(studies, "new")
    change(stale)
    (correction,) = find_corrections(studies)
    assert correction.names == AS_SUBMITTED


def test_two_processes_that_save_at_once_lose_nothing(clinic):
    studies, server, label = clinic
    names = [f"s{number}" for number in range(8)]
    for name in names:
        add_study(studies, name)
    server.refresh()
    other = KeepingDatastore(str(studies), False, read_only=True)

    def save(store, cases):
        for case in cases:
            store.save_label(case, str(label), "final", dict(INFO))

    threads = [
        threading.Thread(target=save, args=(server, names[::2])),
        threading.Thread(target=save, args=(other, names[1::2])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.case: one.names for one in find_corrections(studies)} == dict.fromkeys(
        names, AS_SUBMITTED
    )


def test_a_watched_folder_knows_a_record_that_another_process_replaced(clinic):
    studies, _, label = clinic
    watching = KeepingDatastore(str(studies), auto_reload=True)
    try:
        seen = threading.Event()
        notice = watching._handler.on_moved

        def told(event):
            notice(event)
            if event.dest_path == watching._datastore_config_path:
                seen.set()

        watching._handler.on_moved = told
        other = KeepingDatastore(str(studies), False, read_only=True)
        other.update_image_info("a", {"more": 1})
        assert seen.wait(60)
        assert watching.get_image_info("a")["more"] == 1
    finally:
        watching._observer.stop()
        watching._observer.join()


def test_hidden_files_are_no_studies_also_if_they_were_once(clinic):
    studies, store, label = clinic
    for name in ("._a", ".b"):
        (studies / f"{name}.nii.gz").write_bytes(b"\0\5\x16\7")
    store.refresh()
    assert store.list_images() == ["a"]
    record = studies / "datastore_v2.json"
    known = '"._a": {"image": {"ext": ".nii.gz", "info": {}}, "labels": {}}'
    record.write_text(record.read_text().replace('"a":', f'{known}, "a":'))
    assert "._a" in KeepingDatastore(str(studies), False, read_only=True).list_images()
    assert KeepingDatastore(str(studies), False).list_images() == ["a"]


def test_a_study_of_the_folder_takes_a_label_whatever_its_name(clinic):
    studies, store, label = clinic
    names = ["a#1", "o'brien", "x&y", "x@y", "-x", "scan..v2"]
    for name in names:
        add_study(studies, name)
    store.refresh()
    for name in names:
        for _ in range(2):
            assert store.save_label(name, str(label), "final", dict(INFO)) == name
        assert list((studies / "labels" / "history" / name).iterdir())
        assert store.add_image(name, str(studies / "a.nii.gz"), {}) == name
    assert {one.case for one in find_corrections(studies)} == set(names)
    with pytest.raises(HTTPException, match="not a usable name"):
        store.add_image("new#1", str(studies / "a.nii.gz"), {})


def test_an_image_can_be_sent_again_right_after_it_was_deleted(clinic, tmp_path):
    studies, store, label = clinic
    kept = tmp_path / "kept.nii.gz"
    (studies / "a.nii.gz").rename(kept)
    assert store.get_image_uri("a")
    with pytest.raises(HTTPException, match="No image is called 'a'"):
        store.save_label("a", str(label), "final", dict(INFO))
    assert store.add_image("a", str(kept), {}) == "a"
    assert (studies / "a.nii.gz").read_bytes() == kept.read_bytes()


def test_a_label_stored_in_another_direction_is_taken(clinic, tmp_path):
    """Its voxels are the image's: another client than Slicer may order them otherwise."""
    studies, store, label = clinic
    turned = nib.load(label).as_reoriented(np.array([[0, -1], [1, 1], [2, 1]]))
    nib.save(turned, tmp_path / "turned.nii.gz")
    assert turned.affine[0, 0] == -nib.load(label).affine[0, 0]
    store.save_label("a", str(tmp_path / "turned.nii.gz"), "final", dict(INFO))
    saved = nib.load(studies / "labels" / "final" / "a.nii.gz")
    assert np.array_equal(saved.get_fdata(), turned.get_fdata())


@pytest.mark.parametrize("damage", ["cut", "other file", "other shape", "moved", "halves"])
def test_a_label_that_is_none_of_its_image_leaves_the_one_before(clinic, tmp_path, damage):
    studies, store, label = clinic
    store.save_label("a", str(label), "final", dict(INFO))
    bad = tmp_path / "bad.nii.gz"
    if damage == "other shape":
        nib.save(nib.Nifti1Image(np.ones((6, 5, 3), np.uint8), np.eye(4)), bad)
    elif damage in ("moved", "halves"):
        there = nib.load(label)
        affine = there.affine.copy()
        affine[0, 3] += damage == "moved"
        values = there.get_fdata() * (0.5 if damage == "halves" else 1)
        nib.save(nib.Nifti1Image(values.astype(np.float32), affine), bad)
    else:
        bad.write_bytes(label.read_bytes()[:-20] if damage == "cut" else b"no image")
    told = {"other shape": "6 x 5 x 3 voxels", "moved": "lies elsewhere", "halves": "whole"}
    expected = told.get(damage, "The label")
    with pytest.raises(HTTPException, match=expected) as refused:
        store.save_label("a", str(bad), "final", dict(SWAPPED))
    assert refused.value.status_code == 422
    assert "submit" in refused.value.detail
    assert str(tmp_path) not in refused.value.detail
    (correction,) = find_corrections(studies)
    assert correction.names == AS_SUBMITTED
    assert correction.corrected.read_bytes() == label.read_bytes()
    assert not (studies / "labels" / "history").exists()


def test_an_image_that_only_slicer_can_read_takes_labels(clinic):
    studies, store, label = clinic
    (studies / "a.nii.gz").write_bytes(b"of a kind unknown here")
    store.save_label("a", str(label), "final", dict(INFO))
    assert [one.names for one in find_corrections(studies)] == [AS_SUBMITTED]
