"""A very small SAM encoder, and adapters that have learned something."""

from collections.abc import Callable

import pytest
import torch
from cobot.adapters.attach import AttachedAdapters, attach_adapters
from cobot.adapters.card import AdapterCard
from cobot.adapters.config import AdapterConfig
from segment_anything.modeling import ImageEncoderViT
from torch import nn

SHA = "ab" * 32


def make_encoder(seed: int = 0) -> ImageEncoderViT:
    """Four blocks of width 16 on an 8 x 8 grid; windows of 3 need padding; two global blocks."""
    torch.manual_seed(seed)
    encoder = ImageEncoderViT(
        img_size=32,
        patch_size=4,
        embed_dim=16,
        depth=4,
        num_heads=2,
        out_chans=8,
        use_rel_pos=True,
        window_size=3,
        global_attn_indexes=(1, 3),
    )
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.2)
    return encoder.eval()


def make_uneven_encoder() -> nn.Module:
    """Blocks of width 8 and 12, as hierarchical encoders have; only the parts adapters touch."""
    encoder = nn.Module()
    encoder.add_module("blocks", nn.ModuleList(_bare_block(width) for width in (8, 12)))
    return encoder


def _bare_block(width: int) -> nn.Module:
    block, attention = nn.Module(), nn.Module()
    attention.add_module("qkv", nn.Linear(width, 3 * width))
    block.add_module("attn", attention)
    block.add_module("mlp", nn.Sequential(nn.Linear(width, 20), nn.GELU(), nn.Linear(20, width)))
    return block


def learn(handle: AttachedAdapters, seed: int = 7) -> None:
    """Move every adapter parameter away from its start, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in handle.parameters().values():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


@pytest.fixture
def encoder() -> ImageEncoderViT:
    return make_encoder()


@pytest.fixture
def uneven_encoder() -> nn.Module:
    return make_uneven_encoder()


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def attach() -> Callable[..., AttachedAdapters]:
    """Attach a method by name with seed 0, and let it learn unless `fresh`."""

    def attach_named(
        encoder: nn.Module, name: str, fresh: bool = False, **changes: object
    ) -> AttachedAdapters:
        config = AdapterConfig.named(name, **changes)
        handle = attach_adapters(encoder, config, torch.Generator().manual_seed(0))
        if not fresh:
            learn(handle)
        return handle

    return attach_named


@pytest.fixture
def card() -> AdapterCard:
    return AdapterCard(
        encoder="small",
        base_sha256=SHA,
        window={"kind": "ct", "low_hu": -160, "high_hu": 240},
        image_size_px=32,
        slice_axis="k",
        labels={"spleen": 1},
        dataset="phantoms",
        image_hashes=("00" * 32,),
        seed=5,
        split={"train": 8, "test": 2},
        metrics={"dice": 0.9},
    )
