"""The same structure in two files: by name, by value, or not at all."""

from pathlib import Path

import numpy as np
import pytest
from cobot.errors import ConfigError
from cobot.measures.shared_labels import LabelRule, SharedLabels, share_labels
from cobot.volume import LabelMap

NOTHING_SAID = LabelRule()


def label_map(*values: int, **names: str) -> LabelMap:
    """Return a row of voxels; names as `_1="liver"`."""
    voxels = np.array(values, np.uint8).reshape(-1, 1, 1)
    given = {int(key[1:]): name for key, name in names.items()}
    plain = {value: f"label_{value}" for value in set(values) - {0}}
    return LabelMap(voxels, np.eye(4), plain | given)


def share(one: LabelMap, other: LabelMap, rule: LabelRule = NOTHING_SAID) -> SharedLabels:
    return share_labels((Path("pred.nii.gz"), one), (Path("true.nii.gz"), other), rule)


def test_names_win_over_values():
    shared = share(
        label_map(0, 1, 2, _1="Spleen", _2="liver"), label_map(0, 1, 2, _1="liver", _2="spleen")
    )
    assert shared.names == ("liver", "spleen")
    assert shared.prediction.mask("liver").ravel().tolist() == [False, False, True]
    assert shared.truth.mask("liver").ravel().tolist() == [False, True, False]


def test_without_names_values_are_the_same():
    shared = share(label_map(0, 1, 3), label_map(1, 1, 2))
    assert shared.names == ("label_1", "label_2", "label_3")
    assert shared.truth.mask("label_3").sum() == 0


def test_stated_names_hold_for_files_without_any():
    rule = LabelRule({1: "liver", 2: "spleen"})
    shared = share(label_map(0, 4, 5, _4="spleen", _5="liver"), label_map(2, 1, 0), rule)
    assert shared.names == ("liver", "spleen")
    assert shared.prediction.mask("spleen").ravel().tolist() == [False, True, False]
    assert shared.truth.mask("spleen").ravel().tolist() == [True, False, False]


def test_submitted_names_are_of_the_truth_alone_and_count_before_its_header():
    rule = LabelRule(submitted={1: "spleen", 2: "liver"})
    truth = label_map(1, 2, _1="liver", _2="spleen")
    shared = share(label_map(1, 2, _1="spleen", _2="liver"), truth, rule)
    assert shared.truth.mask("liver").ravel().tolist() == [False, True]
    with pytest.raises(ConfigError, match=r"pred.nii.gz does not name its labels"):
        share(label_map(1, 2), truth, rule)


def test_a_file_without_names_beside_one_with_names_is_refused():
    with pytest.raises(ConfigError, match=r"true.nii.gz does not name .* \(1=liver\).*--labels"):
        share(label_map(1, _1="liver"), label_map(1))
    with pytest.raises(ConfigError, match=r"pred.nii.gz does not name its labels"):
        share(label_map(1), label_map(1, _1="liver"))


def test_an_empty_file_needs_no_names():
    shared = share(label_map(0, 0), label_map(0, 1, _1="liver"))
    assert shared.names == ("liver",)
    assert not shared.prediction.mask("liver").any()


def test_two_empty_files_share_nothing():
    assert share(label_map(0), label_map(0)).names == ()


def test_names_that_only_one_has_are_listed_unless_they_are_wanted():
    one, other = label_map(1, _1="liver"), label_map(1, _1="liver", _2="spleen")
    assert share(one, other).left_out == ("spleen",)
    wanted = share(one, other, LabelRule({}, ("spleen",)))
    assert wanted.names == ("spleen",)
    assert wanted.left_out == ("liver",)
    assert not wanted.prediction.mask("spleen").any()


def test_no_common_name_is_refused():
    with pytest.raises(ConfigError, match="1=liver.*1=Leber.*none is the same"):
        share(label_map(1, _1="liver"), label_map(1, _1="Leber"))
