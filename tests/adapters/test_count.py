from dataclasses import dataclass

import pytest
import torch
from cobot.adapters.config import METHOD_NAMES, AdapterConfig
from cobot.adapters.count import count_parameters


@dataclass(frozen=True)
class Shape:
    embed_dim: int
    depth: int


VIT_B, SMALL = Shape(768, 12), Shape(16, 4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lora", 147_456),
        ("lora+cobot", 148_320),
        ("adaptformer", 322_752),
        ("adaptformer+cobot", 324_048),
        ("freeze", 0),
        ("lightweight", 0),
    ],
)
def test_vit_b_as_in_table_4(name: str, expected: int):
    assert count_parameters(AdapterConfig.named(name), VIT_B) == expected


@pytest.mark.parametrize("name", METHOD_NAMES)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"width": 8},
        {"blocks": (0, 2)},
        {"head": "linear"},
        {"head": "none", "relation": "none", "coefficients": True},
        {"coefficients": True, "relation": "fixed"},
    ],
)
def test_formula_counts_the_real_modules(name, changes, encoder, attach):
    if name in ("freeze", "lightweight"):
        changes = {}
    handle = attach(encoder, name, **changes)
    expected = sum(parameter.numel() for parameter in handle.parameters().values())
    assert count_parameters(handle.config, SMALL) == expected
    trainable = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    assert trainable == expected


def test_real_vit_b_on_the_meta_device(attach):
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        encoder = sam_model_registry["vit_b"]().image_encoder
    handle = attach(encoder, "lora+cobot", fresh=True)
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == 148_320
    assert all(parameter.is_meta for parameter in handle.parameters().values())
