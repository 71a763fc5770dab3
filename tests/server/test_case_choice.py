"""Next Sample on a folder of studies, with scores and leases, and no model."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cobot.selection.case_scores import CaseScores, ObjectScore
from cobot.selection.score_store import ScoreStore
from cobot.server.case_choice import CaseChooser
from cobot.server.datastore import KeepingDatastore
from cobot.server.following import BaseAlone
from cobot.server.leases import Leases
from cobot.server.scored_model import WantedScores
from cobot.server.study_list import studies_to_score
from fastapi import HTTPException

UNSURE = {"a": 0.1, "b": 0.5, "c": 0.3, "d": 0.2}
PLACE = {"a": 0.0, "b": 1.0, "c": 9.0, "d": 5.0}


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def studies(tmp_path):
    for name in UNSURE:
        voxels = np.zeros((4, 4, 2), np.int16)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / f"{name}.nii.gz")
    return tmp_path


@pytest.fixture
def datastore(studies):
    return KeepingDatastore(str(studies), auto_reload=False)


@pytest.fixture
def wanted(studies):
    return WantedScores(ScoreStore(studies / ".cobot" / "scores"), BaseAlone(), lambda: "0" * 64)


@pytest.fixture
def leases(clock):
    return Leases(None, lambda: clock[0])


@pytest.fixture
def chooser(leases, wanted):
    return CaseChooser(leases, wanted, seed=0)


def score(wanted, datastore, names="abcd"):
    for name in names:
        key = wanted.key(Path(datastore.get_image_uri(name)), wanted.model())
        vector = np.array([PLACE[name], 0], np.float32)
        wanted.keep(name, key, CaseScores({"": ObjectScore(UNSURE[name], 0.5)}, vector))


def label(datastore, name):
    datastore.save_label(name, datastore.get_image_uri(name), "final", {})


def test_two_annotators_get_different_cases_and_each_keeps_their_own(chooser, datastore, wanted):
    score(wanted, datastore)
    ann, bob = {"client_id": "ann"}, {"client_id": "bob"}
    first = chooser.next_case("uncertainty", ann, datastore)
    assert (first["id"], first["uncertainty"]) == ("b", 0.5)
    assert first["lease_ends"] == "1970-01-01T01:00:00+00:00"
    assert chooser.next_case("uncertainty", bob, datastore)["id"] == "c"
    again = chooser.next_case("uncertainty", ann, datastore)
    assert again["id"] == "b"
    assert "have it already" in again["reason"]
    other = chooser.next_case("uncertainty", {**ann, "another": True}, datastore)
    assert other["id"] == "d"


def test_a_case_is_handed_on_when_the_lease_ends_and_not_before(chooser, datastore, clock):
    asked = {"client_id": "ann", "lease_minutes": 5}
    assert chooser.next_case("first", asked, datastore)["id"] == "a"
    clock[0] = 299.0
    assert chooser.next_case("first", {"client_id": "bob"}, datastore)["id"] == "b"
    clock[0] = 300.0
    assert chooser.next_case("first", {"client_id": "cid"}, datastore)["id"] == "a"


def test_a_submitted_case_is_nobodys(chooser, datastore, leases):
    ann = {"client_id": "ann"}
    assert chooser.next_case("first", ann, datastore)["id"] == "a"
    label(datastore, "a")
    leases.release("a")
    assert chooser.next_case("first", ann, datastore)["id"] == "b"
    assert leases.held_by("ann", ["a"]) == []


def test_where_others_have_all_that_is_left_it_is_said_until_when(chooser, datastore):
    for name in "abcd":
        assert chooser.next_case("random", {"client_id": name, "lease_minutes": 90}, datastore)
    with pytest.raises(HTTPException) as refused:
        chooser.next_case("random", {"client_id": "late"}, datastore)
    assert refused.value.status_code == 409
    assert "All 4 studies" in refused.value.detail
    assert "01:30 UTC" in refused.value.detail


def test_nothing_is_left_when_everything_has_a_label(chooser, datastore):
    for name in "abcd":
        label(datastore, name)
    assert chooser.next_case("hybrid", {}, datastore) is None


def test_labelled_and_leased_cases_count_as_covered(chooser, datastore, wanted):
    score(wanted, datastore)
    label(datastore, "a")
    # From a at 0, c at 9 is the farthest; then of b at 1 and d at 5, d.
    found = [chooser.next_case("diversity", {"client_id": who}, datastore) for who in "xyz"]
    assert [one["id"] for one in found] == ["c", "d", "b"]
    assert [one["novelty"] for one in found] == [9, 4, 1]


def test_without_scores_the_first_by_name_and_the_answer_says_so(chooser, datastore, wanted):
    found = chooser.next_case("hybrid", {"client_id": "ann"}, datastore)
    assert found["id"] == "a"
    assert "no free case has scores" in found["reason"]
    score(wanted, datastore, "d")
    assert chooser.next_case("hybrid", {"client_id": "bob"}, datastore)["id"] == "d"


def test_scores_of_another_adapter_or_of_a_changed_image_do_not_count(
    leases, wanted, datastore, studies
):
    score(wanted, datastore)
    adapter = replace(wanted.model(), adapter="v0001", adapter_sha256="1" * 64)
    images = {name: Path(datastore.get_image_uri(name)) for name in "ab"}
    assert list(wanted.missing(images.items(), adapter)) == ["a", "b"]
    assert list(wanted.missing(images.items(), wanted.model())) == []
    nib.save(nib.Nifti1Image(np.ones((5, 5, 3), np.int16), np.eye(4)), studies / "b.nii.gz")
    assert wanted.of(images)["b"] is None
    assert CaseChooser(leases, wanted).next_case("uncertainty", {}, datastore)["id"] == "c"


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("lease_minutes", 0, "from 1 to 10080"),
        ("lease_minutes", 10081, "from 1 to 10080"),
        ("lease_minutes", "soon", "whole number of minutes"),
        ("signal", "mood", "one of disagreement"),
        ("another", "perhaps", "true or false"),
    ],
)
def test_an_option_that_cannot_be_is_refused_with_what_can(
    chooser, datastore, leases, option, value, expected
):
    with pytest.raises(HTTPException) as refused:
        chooser.next_case("first", {option: value}, datastore)
    assert refused.value.status_code == 422
    assert option in refused.value.detail
    assert expected in refused.value.detail
    assert leases.free("abcd") == list("abcd")


def test_options_as_slicer_sends_them(chooser, datastore):
    asked = {"lease_minutes": "10080", "another": 0, "signal": ["predicted_iou", "x"], "label": ""}
    assert chooser.next_case("hybrid", asked, datastore)["id"] == "a"


def test_studies_without_a_label_are_scored_first(datastore, studies):
    label(datastore, "a")
    assert list(studies_to_score(datastore)) == ["b", "c", "d", "a"]
    assert studies_to_score(datastore)["b"] == (studies / "b.nii.gz").resolve()
