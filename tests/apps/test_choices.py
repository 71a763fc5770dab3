"""The app's `--conf` pairs, checked once."""

import importlib.util
import sys
from pathlib import Path

import pytest
from cobot.errors import ConfigError

PATH = Path(__file__).parents[2] / "apps" / "cobot_sam" / "lib" / "configs" / "choices.py"
SPEC = importlib.util.spec_from_file_location("cobot_sam_choices", PATH)
choices = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = choices
SPEC.loader.exec_module(choices)


def test_nothing_said_is_the_offline_default():
    read = choices.read_choices({})
    assert (read.model, read.weights, read.device, read.window) == ("tiny", None, "auto", "auto")
    assert read.labels[:2] == ("spleen", "liver")
    assert read.models == choices.MODELS
    assert read.embeddings_gb == 8
    assert read.scoring
    assert not choices.read_choices({"scoring": "no"}).scoring
    assert (read.adapter, read.store) == ("active", None)
    assert [one.name for one in read.trainers] == ["abdomen", "spleen", "head_neck"]
    assert read.store_of(Path("ct")) == Path("ct/.cobot/adapters/tiny")


def test_strings_become_values_and_other_keys_are_monai_labels():
    read = choices.read_choices(
        {"labels": " spleen, left kidney,", "weights": "w.pth", "models": "all", "preload": "true"}
        | {"embeddings_gb": "0.5"}
    )
    assert read.embeddings_gb == 0.5
    assert read.labels == ("spleen", "left kidney")
    assert read.weights == Path("w.pth")
    assert read.models == choices.MODELS


def test_data_sets_of_ones_own_are_trained_beside_public_ones(tmp_path):
    own = tmp_path / "lung.toml"
    own.write_text('name = "lung"\nwindow = [-1000, 200]\n[labels]\n"left lung" = 1\n')
    read = choices.read_choices({"trainers": f"spleen, {own}", "store": "s", "adapter": "v0012"})
    assert [one.name for one in read.trainers] == ["spleen", "lung"]
    assert read.trainers[1].labels == {1: "left lung"}
    assert (read.store_of(Path("ct")), read.adapter) == (Path("s"), "v0012")
    assert choices.read_choices({"trainers": "none"}).trainers == ()


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"trainers": "hand"}, "--conf trainers 'hand'.*no public data set 'hand'"),
        ({"trainers": "spleen,spleen"}, "--conf trainers.*each data set once"),
        ({"trainers": "nowhere.toml"}, "nowhere.toml cannot be read"),
        ({"adapter": "newest"}, "--conf adapter 'newest'.*should match.*active"),
        ({"models": "sam_2d,sam_9"}, "--conf models 'sam_2d,sam_9'.*sam_3d, sam_multi, or all"),
        ({"models": ""}, "--conf models.*sam_3d, sam_multi, or all"),
        ({"scoring": "later"}, "--conf scoring 'later'.*valid boolean"),
        ({"embeddings_gb": "-1"}, "--conf embeddings_gb '-1'.*greater than or equal to 0"),
        ({"embeddings_gb": "all"}, "--conf embeddings_gb 'all'.*valid number"),
        ({"labels": " , "}, "--conf labels.*at least one name"),
    ],
)
def test_a_choice_that_is_none_is_refused(conf, message):
    with pytest.raises(ConfigError, match=message):
        choices.read_choices(conf)


def test_precision_and_compiling_reach_the_segmenter():
    options = choices.read_choices({"precision": "fp32", "compiled": "true"}).segmenter_options
    assert (options.precision, options.compiled) == ("fp32", True)
    options = choices.read_choices({}).segmenter_options
    assert (options.precision, options.compiled) == ("auto", False)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ConfigError, match="--conf precision 'int8' cannot be used"):
        choices.read_choices({"precision": "int8"})
