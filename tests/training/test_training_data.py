"""From submitted labels to two sides: what is learnt, what is not, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from cobot.adapters.store import AdapterStore
from cobot.errors import CobotError, ConfigError
from cobot.io import write_label_map
from cobot.training.corrections import find_corrections
from cobot.training.slice_cache import SliceCache
from cobot.training.train import _prepare_run, train_adapter
from cobot.training.training_data import READINGS
from cobot.volume import LabelMap


def datastore(data, folder, names):
    """The pairs of a folder as a MONAI Label datastore, each label submitted with names."""
    (folder / "labels" / "final").mkdir(parents=True)
    for number in range(len(names)):
        shutil.copy(data / f"image_{number}.nii.gz", folder / f"{number}.nii.gz")
        label = folder / "labels" / "final" / f"{number}.nii.gz"
        shutil.copy(data / f"label_{number}.nii.gz", label)
    write_record(folder, names)
    return folder


def write_record(folder, names):
    objects = {
        str(number): {"labels": {"final": {"info": {"label_names": one}}}}
        for number, one in enumerate(names)
    }
    (folder / "datastore_v2.json").write_text(json.dumps({"objects": objects}))


BOTH = {"ball": 1, "rod": 2}


def prepared(request):
    """The two sides."""
    return _prepare_run(request, AdapterStore(request.store), None).data


def test_only_a_structure_that_was_submitted_can_be_lost(data, tmp_path, request_for):
    """Who drew the ball alone has not said that there is no rod."""
    studies = datastore(data, tmp_path / "studies", [BOTH, {"ball": 1}, {}])
    (studies / "labels" / "original").mkdir()
    found = find_corrections(studies)
    values = np.zeros((40, 36, 6), np.uint8)
    values[5:9, 5:9, 4], values[26:31, 20:26, 4] = 1, 2
    for one in found:
        file = studies / "labels" / "original" / one.image.name
        write_label_map(LabelMap(values, np.diag([3.0, 3, 6, 1]), {1: "ball", 2: "rod"}), file)
    cache = SliceCache(tmp_path / "cache", request_for().task)
    lost = []
    for one in find_corrections(studies):
        (above,) = (found for found in cache.index(one).slices if found.index == 4)
        lost.append([gone.value for gone in above.absent])
    assert lost == [[1, 2], [1], [1, 2]], "without names the file itself is all there is"


def test_a_label_that_is_submitted_meanwhile_is_read_by_its_own_names(
    data, tmp_path, request_for, monkeypatch
):
    studies = datastore(data, tmp_path / "studies", [BOTH, BOTH, BOTH])
    index, calls = SliceCache.index, []

    def swapped_meanwhile(cache, correction):
        calls.append(correction.case)
        if len(calls) == 2:
            write_record(studies, [{"ball": 2, "rod": 1}, BOTH, BOTH])
        return index(cache, correction)

    monkeypatch.setattr(SliceCache, "index", swapped_meanwhile)
    request = request_for(data=studies)
    sides = prepared(request)
    cases = {one.case: one for side in (sides.train, sides.validation) for one in side.corrections}
    assert cases["0"].names == ((1, "rod"), (2, "ball"))


def test_labels_that_never_rest_are_refused_in_words(data, tmp_path, request_for, monkeypatch):
    studies = datastore(data, tmp_path / "studies", [BOTH, BOTH, BOTH])
    index, turns = SliceCache.index, iter(range(1000))

    def never_the_same(cache, correction):
        write_record(studies, [{"ball": 1, f"rod {next(turns)}": 2}, BOTH, BOTH])
        return index(cache, correction)

    monkeypatch.setattr(SliceCache, "index", never_the_same)
    with pytest.raises(ConfigError, match=f"changed {READINGS} times while they were read"):
        train_adapter(request_for(data=studies), lambda now: None)


def test_a_damaged_label_is_told_at_once(data, tmp_path, request_for, monkeypatch):
    studies = datastore(data, tmp_path / "studies", [BOTH, BOTH, BOTH])
    (studies / "labels" / "final" / "1.nii.gz").write_bytes(b"junk")
    index, read = SliceCache.index, []
    monkeypatch.setattr(
        SliceCache, "index", lambda cache, one: read.append(one.case) or index(cache, one)
    )
    with pytest.raises(CobotError, match=r"1\.nii\.gz"):
        prepared(request_for(data=studies))
    assert read == ["0", "1"], "once, for nobody submitted anything meanwhile"


def test_a_server_measures_on_cases_held_back_or_not_at_all(data, tmp_path, request_for):
    """Three studies, but only one image in them that can be learnt from."""
    studies = datastore(data, tmp_path / "studies", [BOTH, BOTH, BOTH])
    label = studies / "labels" / "final"
    for number in (1, 2):
        shutil.copy(studies / "0.nii.gz", studies / f"{number}.nii.gz")
        shutil.copy(label / "0.nii.gz", label / f"{number}.nii.gz")
    request = request_for(data=studies, must_hold_out=True)
    with pytest.raises(ConfigError, match="1 of 3 labelled studies.*Submit labels of ball or rod"):
        prepared(request)
    shutil.copy(data / "image_1.nii.gz", studies / "1.nii.gz")
    shutil.copy(data / "label_1.nii.gz", label / "1.nii.gz")
    assert prepared(request).split.held_out, "what was refused has decided nothing"


def test_studies_that_were_all_learnt_from_need_another(data, tmp_path, request_for):
    studies = datastore(data, tmp_path / "studies", [BOTH, BOTH])
    assert not prepared(request_for(data=studies)).split.held_out
    with pytest.raises(ConfigError, match="All these studies were learnt from before"):
        prepared(request_for(data=studies, must_hold_out=True))


def test_a_structure_that_no_measured_case_has_is_named(data, tmp_path, request_for):
    studies = datastore(data, tmp_path / "studies", [BOTH, BOTH, {"ball": 1}])
    split = tmp_path / "sides.json"
    split.write_text(json.dumps({"train": ["0", "1"], "validation": ["2"]}))
    request = request_for(data=studies, split=split)
    sides = prepared(request)
    assert sides.split.note == "No case held back has rod: how well that is learnt is not measured."
    split.write_text(json.dumps({"train": ["0", "2"], "validation": ["1"]}))
    assert prepared(request).split.note == ""


def test_two_studies_of_a_patient_lie_on_one_side(data, tmp_path, request_for):
    studies = datastore(data, tmp_path / "studies", [BOTH, BOTH, BOTH])
    files = {"0.nii.gz": {}, "2.nii.gz": {}, "labels/final/0.nii.gz": {}}
    record = studies / "prepared-head_neck.json"
    record.write_text(json.dumps({"cases": {"p0": files, "p1": {"1.nii.gz": {}}}}))
    request = request_for(data=studies, validation_fraction=0.5)
    split = prepared(request).split
    assert split.held_out
    assert ("0" in split.train) == ("2" in split.train)
    record.write_text('{"cases": [')
    with pytest.raises(CobotError, match=r"prepared-head_neck.json is damaged"):
        prepared(request)
