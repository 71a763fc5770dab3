"""Slicer's Options for Train: what is offered comes back as settings, anything else is refused."""

import importlib.util
import sys
from pathlib import Path

import pytest
from cobot.errors import ConfigError

PATH = Path(__file__).parents[2] / "apps" / "cobot_sam" / "lib" / "trainers" / "options.py"
SPEC = importlib.util.spec_from_file_location("cobot_sam_training_options", PATH)
options = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = options
SPEC.loader.exec_module(options)


def as_slicer_sends(offered):
    """Slicer's module: the chosen text of a list, a checkbox as 1 or 0, MONAI Label's own keys."""
    sent = {}
    for name, value in offered.items():
        if isinstance(value, list):
            assert all(isinstance(one, str) for one in value)
            sent[name] = value[0]
        else:
            sent[name] = int(value) if isinstance(value, bool) else value
    return {**sent, "model": "spleen", "gpus": "all", "local_rank": 0, "client_id": "user-1"}


def test_the_offered_table_untouched_is_the_default_training():
    read = options.read_options(as_slicer_sends(options.offered("auto")))
    assert read == options.read_options({"max_epochs": 20})
    assert read.adapter.name == "adaptformer+cobot"
    assert read.adapter.width == 16
    assert (read.training_recipe.name, read.training_recipe.epochs) == ("default", 20)
    assert read.training_recipe.save_every == options.SAVE_EVERY
    assert (read.device, read.continue_active, read.val_split) == ("auto", False, 0.2)


def test_choices_reach_adapter_and_recipe_hidden_ones_too():
    read = options.read_options(
        {"method": ["lora+cobot", "lora"], "width": 8, "recipe": "paper", "max_epochs": 0}
        | {"continue_active": 1, "learning_rate": 0.01, "relation": "fixed", "seed": 7}
    )
    assert (read.adapter.method, read.adapter.width, read.adapter.relation) == ("lora", 8, "fixed")
    assert read.training_recipe.epochs == 25
    assert read.training_recipe.learning_rate == 0.01
    assert read.continue_active is True
    assert read.seed == 7


def test_the_servers_device_is_offered_first():
    assert options.offered("cpu")["device"][0] == "cpu"
    assert options.offered("cuda:1")["device"] == ["cuda", "auto", "cpu"]
    assert "freeze" not in options.offered("")["method"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"max_epochs": "many"}, "Option max_epochs 'many' cannot be used: .*integer"),
        ({"val_split": 1}, "Option val_split 1 cannot be used: .*less than 1"),
        ({"method": "magic"}, "'magic' is unknown: choose one of lora"),
        ({"method": "freeze"}, "'freeze' trains nothing; choose another method"),
        ({"recipe": "best"}, "Unknown recipe 'best'; expected one of paper, default"),
        ({"width": 6}, "width 6 with a hyper-complex head.*divisible by 4"),
        ({"method": "lightweight", "width": 8}, "attaches no adapter, so .*cannot be set"),
        ({"device": "cuda:3"}, "Option device 'cuda:3' is none of auto, cpu, cuda"),
        ({"epoch": 3}, "unknown settings .'epoch'."),
        ({"batch_size": 0}, "batch_size 0 must be at least 1"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_reason(request_, message):
    with pytest.raises(ConfigError, match=message):
        options.read_options(request_)
