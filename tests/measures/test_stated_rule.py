"""What is known of a truth's values beside its header."""

import json
from pathlib import Path

import numpy as np
import pytest
from cobot.errors import ConfigError
from cobot.io import write_label_map
from cobot.measures.compare import stated_rule
from cobot.measures.shared_labels import LabelRule
from cobot.volume import LabelMap

SUBMITTED = {"objects": {"a": {"labels": {"final": {"info": {"label_names": {"liver": 2}}}}}}}


@pytest.fixture
def truth(tmp_path) -> Path:
    """A final label of a datastore, without names in its header."""
    path = tmp_path / "labels" / "final" / "a.nii.gz"
    path.parent.mkdir(parents=True)
    write_label_map(LabelMap(np.full((2, 2, 2), 2, np.uint8), np.eye(4)), path)
    return path


def test_submitted_names_stand_beside_what_the_user_says(truth, tmp_path):
    (tmp_path / "a.nii.gz").touch()
    (tmp_path / "datastore_v2.json").write_text(json.dumps(SUBMITTED))
    assert stated_rule(truth) == LabelRule(submitted={2: "liver"})
    assert stated_rule(truth, {1: "liver"}) == LabelRule({1: "liver"}, ("liver",), {2: "liver"})


def test_a_datastore_is_described_in_its_own_folder(truth, tmp_path):
    (tmp_path / "dataset.json").write_text('{"labels": {"2": "spleen"}}')
    (tmp_path / "a.nii.gz").touch()
    (tmp_path / "datastore_v2.json").write_text("{}")
    assert stated_rule(truth) == LabelRule({2: "spleen"})


def test_labels_without_a_record_need_no_images(truth):
    assert stated_rule(truth) == LabelRule()


def test_a_damaged_record_is_refused(truth, tmp_path):
    (tmp_path / "datastore_v2.json").write_text("{")
    with pytest.raises(ConfigError, match="datastore_v2.json is damaged"):
        stated_rule(truth)
