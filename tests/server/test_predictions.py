"""What the model answered, kept slice by slice until a label corrects it."""

import os
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from cobot.server.predictions import GivenMask, PredictionStore, compose

NOON = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)


def given(label="spleen", k=1, fill=(0, 2), adapter="v0001", minutes=0):
    mask = np.zeros((5, 3), bool)
    mask[slice(*fill)] = True
    return GivenMask(label, k, mask, adapter, NOON + timedelta(minutes=minutes))


@pytest.fixture
def store(tmp_path):
    return PredictionStore(tmp_path / "predictions", kept_images=3)


def test_an_answer_comes_back_as_it_was_also_to_another_process(store, tmp_path):
    one = given()
    store.keep("case 1", one)
    (back,) = PredictionStore(tmp_path / "predictions").of("case 1")
    assert (back.mask == one.mask).all()
    assert back.note() == one.note() == {"slice": 1, "adapter": "v0001", "time": NOON.isoformat()}
    assert store.of("case 2") == ()


def test_the_last_answer_on_a_slice_counts(store):
    store.keep("a", given(fill=(0, 2)))
    store.keep("a", given(fill=(3, 5), adapter=None, minutes=1))
    store.keep("a", given(k=2))
    store.keep("a", given(label="liver"))
    found = {(one.label, one.slice_k): one for one in store.of("a")}
    assert set(found) == {("spleen", 1), ("spleen", 2), ("liver", 1)}
    assert found["spleen", 1].mask[3:].all()
    assert found["spleen", 1].adapter is None


def test_an_answer_about_a_whole_structure_replaces_all_of_its_slices_and_no_others(store):
    store.keep("a", given(k=1))
    store.keep("a", given(k=3))
    store.keep("a", given(label="liver", k=3))
    store.keep_structure("a", "spleen", [given(k=1, fill=(3, 5)), given(k=2)])
    found = {(one.label, one.slice_k): one for one in store.of("a")}
    assert set(found) == {("spleen", 1), ("spleen", 2), ("liver", 3)}
    assert found["spleen", 1].mask[3:].all()
    store.keep_structure("a", "spleen", [])
    assert [(one.label, one.slice_k) for one in store.of("a")] == [("liver", 3)]
    store.keep_structure("nobody", "spleen", [])
    assert store.of("nobody") == ()


def test_names_of_patients_are_in_no_file_name(store, tmp_path):
    store.keep("Doe^Jane", given(label="tumour of Jane"))
    names = [name for _, folders, files in os.walk(tmp_path) for name in (*folders, *files)]
    assert not [name for name in names if "Jane" in name]


def test_the_images_clicked_on_longest_ago_go(store, tmp_path):
    for number, image in enumerate(("a", "b", "c")):
        store.keep(image, given())
        os.utime(max((tmp_path / "predictions").iterdir(), key=os.path.getmtime), (number, number))
    store.keep("a", given(k=2))
    store.keep("d", given())
    assert [image for image in "abcd" if store.of(image)] == ["a", "c", "d"]
    store.forget("a")
    assert store.of("a") == ()


def test_a_damaged_file_costs_that_answer_alone(store, tmp_path):
    store.keep("a", given(k=1))
    store.keep("a", given(k=2))
    next((tmp_path / "predictions").glob("*/*/1.npz")).write_bytes(b"PK damaged")
    assert [one.slice_k for one in store.of("a")] == [2]


def test_answers_become_one_map_in_the_values_of_the_label():
    answers = (
        given("liver", fill=(1, 3), minutes=1),
        given("spleen", fill=(0, 2)),
        given("aorta"),
        given("spleen", k=9),
    )
    voxels = compose(answers, {"spleen": 1, "liver": 2}, (5, 3, 4))
    assert voxels[:, 0, 1].tolist() == [1, 2, 2, 0, 0]
    assert not np.delete(voxels, 1, axis=2).any()
    assert not compose(answers, {"spleen": 1}, (4, 3, 4)).any()
