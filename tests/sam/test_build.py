import pytest
import torch
from cobot.errors import ConfigError
from cobot.sam.build import build, encoder_shape
from segment_anything import sam_model_registry


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_has_the_names_and_shapes_of_the_published_model(name):
    with torch.device("meta"):
        ours = build(name).state_dict()
        stock = sam_model_registry[name]().state_dict()
    assert {key: value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in stock.items()
    }


def test_tiny_is_small_enough_to_ship_in_half_precision():
    with torch.device("meta"):
        numbers = sum(value.numel() for value in build("tiny").state_dict().values())
    assert 2 * numbers <= 16 * 2**20


def test_refuses_an_unknown_name():
    assert encoder_shape("vit_b").grid == 64
    with pytest.raises(ConfigError, match="Unknown encoder 'vit_x'.*vit_b, vit_l, vit_h, tiny"):
        encoder_shape("vit_x")
