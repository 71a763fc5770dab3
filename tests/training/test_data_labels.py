"""What label values mean is asked of files and people, never guessed."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cobot.datasets.abdomen import ABDOMEN
from cobot.errors import ConfigError
from cobot.intensity import PRESETS
from cobot.io import write_label_map
from cobot.training.corrections import Correction
from cobot.training.data_labels import (
    StatedLabels,
    fits_windows,
    named_task,
    relabelled,
    require_known_names,
    stated_labels,
    write_split,
)
from cobot.training.split import SplitCase, read_manifest
from cobot.training.task import TrainingTask
from cobot.volume import LabelMap

TASK = TrainingTask.of(ABDOMEN)
VOXELS = np.arange(8, dtype=np.uint8).reshape(2, 2, 2) % 3


def example(folder: Path, names: dict[int, str] | None = None, lowest: int = -1000) -> Correction:
    """A labelled volume whose label file has names, or none."""
    folder.mkdir(exist_ok=True)
    image, label = folder / "image_1.nii.gz", folder / "label_1.nii.gz"
    nib.save(nib.Nifti1Image(VOXELS.astype(np.int16) + lowest, np.eye(4)), image)
    if names:
        write_label_map(LabelMap(VOXELS, np.eye(4), names), label)
    else:
        nib.save(nib.Nifti1Image(VOXELS, np.eye(4)), label)
    return Correction(image, label)


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def test_names_are_found_in_files_then_beside_then_above(tmp_path):
    folder = tmp_path / "scans"
    one = example(folder)
    assert stated_labels(folder, one) is None
    split = {"train": ["1"], "validation": ["2"]}
    above = {"scans": {"labels": {"1": "liver", "2": "left_kidney"}, "split": split}}
    write(tmp_path / "manifest.json", above)
    found = stated_labels(folder, one)
    assert (found.labels, found.split) == ({1: "liver", 2: "left_kidney"}, split)
    assert found.source == str(tmp_path / "manifest.json")
    write(folder / "dataset.json", {"labels": {"background": 0, "spleen": 1}})
    assert stated_labels(folder, one).labels == {1: "spleen"}
    write(folder / "dataset.json", {"labels": {"0": "background", "2": "spleen"}})
    assert stated_labels(folder, one).labels == {2: "spleen"}
    named = stated_labels(folder, example(folder, {1: "rib", 2: "lung"}))
    assert (named.labels, named.in_files) == ({1: "rib", 2: "lung"}, True)


def test_what_was_submitted_counts_before_files(tmp_path):
    """Each label of a datastore has values of its own, and its file carries no names."""
    one = example(tmp_path / "scans", {1: "rib"})
    first, second = (
        replace(one, names=names) for names in (((1, "liver"),), ((1, "spleen"), (2, "liver")))
    )
    found = stated_labels(tmp_path / "scans", first, [second])
    assert found is not None
    assert (set(found.labels.values()), found.in_files) == ({"liver", "spleen"}, True)
    assert named_task(TASK, found) == TASK


def test_a_manifest_of_other_folders_says_nothing(tmp_path):
    one = example(tmp_path / "scans")
    write(tmp_path / "manifest.json", {"others": {"labels": {"1": "liver"}}})
    assert stated_labels(tmp_path / "scans", one) is None


def test_a_damaged_description_is_named(tmp_path):
    one = example(tmp_path)
    twice = '{"labels": {"liver": 1, "lesion": 1}}'
    for text in ("{", '["liver"]', '{"labels": {"liver": "first"}}', twice):
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(ConfigError, match=r"dataset.json cannot be read .* use --labels"):
            stated_labels(tmp_path, one)


def test_nobody_says_what_the_values_mean():
    with pytest.raises(ConfigError) as refused:
        named_task(TASK, None, "cobot train --data x")
    assert str(refused.value).endswith(
        '\n  cobot train --data x --labels "1=liver,2=kidney,3=spleen,4=pancreas"'
    )


def test_stated_values_replace_the_data_sets_and_keep_its_window():
    stated = StatedLabels({1: "Liver", 2: "right_kidney", 4: "spleen"}, "manifest.json")
    task = named_task(TASK, stated)
    assert task.labels == {1: "Liver", 2: "right_kidney", 4: "spleen"}
    assert set(task.windows.values()) == {PRESETS["abdomen"]}
    assert (task.name, task.cut) == (TASK.name, TASK.cut)


def test_windows_of_organs_that_differ_are_not_lent_to_new_names():
    task = TrainingTask("t", {1: "a", 2: "b"}, {"a": PRESETS["bone"], "b": PRESETS["brain"]})
    assert relabelled(task, {5: "a", 6: "c"}).windows == {"a": PRESETS["bone"]}


def test_names_in_files_are_read_by_name_and_must_be_some_of_the_tasks():
    files = StatedLabels({9: "Liver", 8: "heart"}, "label_1.nii.gz", in_files=True)
    assert named_task(TASK, files) is TASK
    others = StatedLabels({1: "heart", 2: "rib"}, "label_1.nii.gz", in_files=True)
    with pytest.raises(ConfigError) as refused:
        require_known_names(TASK, others, "cobot train")
    assert "label_1.nii.gz names its labels 1=heart,2=rib; none is one of liver" in str(
        refused.value
    )
    assert str(refused.value).endswith('cobot train --labels "1=heart,2=rib"')
    require_known_names(TASK, StatedLabels({1: "heart"}, "manifest.json"))


def test_hounsfield_windows_need_a_ct(tmp_path):
    ct, mr = example(tmp_path / "ct"), example(tmp_path / "mr", lowest=0)
    assert (fits_windows(TASK, ct), fits_windows(TASK, mr)) == (True, False)
    assert fits_windows(TASK.shown_in("auto"), mr)


def test_a_stated_split_is_written_as_a_split_is_read(tmp_path):
    path = write_split({"train": ["1"], "validation": ["2"]}, tmp_path / "store" / "split.json")
    cases = [SplitCase(f"image_{number}", str(number)) for number in (1, 2, 3)]
    assert read_manifest(path, cases).validation == ("image_2",)
