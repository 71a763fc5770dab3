import pytest
import torch
from cobot.adapters.attach import attach_adapters
from cobot.adapters.blocks import BLOCK_CHOICES, choose_blocks, in_blocks
from cobot.adapters.config import AdapterConfig
from cobot.adapters.count import count_parameters
from cobot.errors import ConfigError
from cobot.sam.build import ENCODERS, build_image_encoder


@pytest.mark.parametrize(
    ("text", "depth", "blocks"),
    [
        ("all", 12, None),
        ("last-half", 12, (6, 7, 8, 9, 10, 11)),
        ("last-quarter", 12, (9, 10, 11)),
        ("last-half", 24, tuple(range(12, 24))),
        ("last-quarter", 32, tuple(range(24, 32))),
        ("last-half", 3, (1, 2)),
        ("last-quarter", 1, (0,)),
    ],
)
def test_blocks_follow_the_depth(text, depth, blocks):
    assert choose_blocks(text, depth) == blocks


@pytest.mark.parametrize("text", ["half", "", "6", "last_half"])
def test_any_other_choice_is_refused_with_the_known_ones(text):
    with pytest.raises(ConfigError, match=f"{text!r}; expected one of all, last-half, last-quart"):
        choose_blocks(text, 12)


def test_a_method_without_a_branch_and_blocks_named_twice_are_refused():
    assert in_blocks(AdapterConfig.named("lightweight"), "all", 12).blocks is None
    with pytest.raises(ConfigError, match=r"'lightweight' attaches no adapter, so \['blocks'\]"):
        in_blocks(AdapterConfig.named("lightweight"), "last-half", 12)
    with pytest.raises(ConfigError, match=r"named twice: 'last-half', and \[3\]"):
        in_blocks(AdapterConfig.named("lora", blocks=(3,)), "last-half", 12)


@pytest.mark.parametrize("method", ["lora+cobot", "adaptformer+cobot"])
@pytest.mark.parametrize("choice", BLOCK_CHOICES)
def test_the_slots_follow_the_adapted_blocks(method, choice):
    shape = ENCODERS["tiny"]
    config = in_blocks(AdapterConfig.named(method), choice, shape.depth)
    with torch.device("meta"):
        encoder = build_image_encoder(shape)
    handle = attach_adapters(encoder, config, torch.Generator().manual_seed(0))
    blocks = {"all": 8, "last-half": 4, "last-quarter": 2}[choice]
    slots = blocks * config.slots_per_block
    assert handle.relation.matrix.shape == (slots, slots)
    assert handle.relation.linked.shape == (config.width, slots)
    assert sum(one.numel() for one in handle.parameters().values()) == count_parameters(
        config, shape
    )
