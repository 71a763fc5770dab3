"""Both layouts of labelled data."""

import json

import numpy as np
import pytest
from cobot.errors import ConfigError
from cobot.io import write_label_map
from cobot.training.corrections import find_corrections
from cobot.training.label_values import read_task_labels
from cobot.volume import LabelMap, Volume


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_pairs(tmp_path):
    image, label = touch(tmp_path / "image_a.nii.gz"), touch(tmp_path / "label_a.nii.gz")
    (found,) = find_corrections(tmp_path)
    assert (found.image, found.corrected, found.prediction) == (image, label, None)
    assert found.case == "image_a"


def test_a_datastore_with_and_without_predictions(tmp_path):
    for name in ("a.nii.gz", "b.nrrd", "unlabelled.nii.gz"):
        touch(tmp_path / name)
    touch(tmp_path / "labels/final/a.nii.gz")
    touch(tmp_path / "labels/final/b.nii.gz")
    prediction = touch(tmp_path / "labels/original/a.nii.gz")
    record = {"objects": {"a": {"labels": {"final": {"info": {"adapter_version": "v0002"}}}}}}
    (tmp_path / "datastore_v2.json").write_text(json.dumps(record))
    first, second = find_corrections(tmp_path)
    assert (first.case, first.prediction, first.adapter_version) == ("a", prediction, "v0002")
    assert (second.image, second.prediction, second.adapter_version) == (
        tmp_path / "b.nrrd", None, None,
    )  # fmt: skip
    assert first.time is not None


def test_pairs_of_other_suffixes_are_cases_too(tmp_path):
    for name in ("image_1.nii.gz", "image_image_2.nii", "image_3.mha"):
        touch(tmp_path / name)
        touch(tmp_path / name.replace("image_", "label_", 1))
    touch(tmp_path / "image_notes.txt")
    assert [one.case for one in find_corrections(tmp_path)] == [
        "image_1",
        "image_3",
        "image_image_2",
    ]
    touch(tmp_path / "image_4.nrrd")
    with pytest.raises(ConfigError, match=r"no label_4\.nrrd"):
        find_corrections(tmp_path)


def test_hidden_files_are_no_cases(tmp_path):
    for name in ("a.nii.gz", "labels/final/a.nii.gz", "labels/final/._a.nii.gz"):
        touch(tmp_path / name)
    assert [one.case for one in find_corrections(tmp_path)] == ["a"]


def test_a_label_without_image_is_named(tmp_path):
    touch(tmp_path / "labels/final/ghost.nii.gz")
    with pytest.raises(ConfigError, match="no image is called ghost"):
        find_corrections(tmp_path)


def test_a_datastore_without_labels_is_refused(tmp_path):
    touch(tmp_path / "a.nii.gz")
    (tmp_path / "labels/final").mkdir(parents=True)
    with pytest.raises(ConfigError, match="holds 0 labels"):
        find_corrections(tmp_path)


@pytest.fixture
def labelled(tmp_path):
    voxels = np.zeros((4, 3, 2), np.uint8)
    voxels[0], voxels[1] = 7, 9
    write_label_map(LabelMap(voxels, np.eye(4), {7: "liver", 9: "rib"}), tmp_path / "l.nii.gz")
    return tmp_path / "l.nii.gz", Volume(voxels, np.eye(4))


def test_names_in_the_file_count_before_values(labelled):
    path, volume = labelled
    found = read_task_labels(path, {1: "liver", 7: "spleen"}, volume)
    assert (found[0] == 1).all()
    assert not found[1:].any()


def test_without_a_known_name_values_count(labelled):
    path, volume = labelled
    found = read_task_labels(path, {9: "costa"}, volume)
    assert (found[1] == 9).all()
    assert not found[0].any()


def test_labels_of_another_task_are_refused(labelled):
    path, volume = labelled
    with pytest.raises(ConfigError, match=r"holds 7 \(liver\), 9 \(rib\), but none .* 3=heart"):
        read_task_labels(path, {3: "heart"}, volume)


def test_submitted_names_count_before_those_of_the_file(labelled):
    path, volume = labelled
    found = read_task_labels(path, {1: "left kidney", 2: "rib"}, volume, {9: "Left_Kidney"})
    assert (found[1] == 1).all()
    assert not found[0].any()
    nothing = read_task_labels(path, {1: "heart"}, volume, {7: "liver", 9: "rib"})
    assert not nothing.any()


def test_a_prediction_may_lack_the_structures_that_are_learnt(labelled):
    path, volume = labelled
    assert not read_task_labels(path, {3: "heart"}, volume, may_lack=True).any()


def record_of(folder, text):
    touch(folder / "a.nii.gz")
    touch(folder / "labels/final/a.nii.gz")
    (folder / "datastore_v2.json").write_text(text)
    return folder


def test_a_submitted_label_comes_with_its_names(tmp_path):
    info = {"label_names": {"spleen": 2, "liver": 1, "odd": "x"}}
    record = {"objects": {"a": {"labels": {"final": {"info": info}}}}}
    (found,) = find_corrections(record_of(tmp_path, json.dumps(record)))
    assert found.names == ((1, "liver"), (2, "spleen"))


def test_a_damaged_record_is_refused_since_values_alone_could_mean_anything(tmp_path):
    with pytest.raises(ConfigError, match=r"datastore_v2.json is damaged.*restore it"):
        find_corrections(record_of(tmp_path, '{"objects": '))
