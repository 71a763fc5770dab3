"""A SAM of tiny's kind but smaller, and a smaller encoder, random weights nowhere zero."""

from collections.abc import Callable

import pytest
import torch
from cobot.adapters.attach import attach_adapters
from cobot.adapters.config import AdapterConfig
from cobot.adapters.handle import AttachedAdapters
from cobot.sam import build as builder
from cobot.sam.build import EncoderShape, build_image_encoder
from cobot.sam.weights import LoadedSam
from segment_anything.modeling import ImageEncoderViT, Sam
from torch import nn

SMALL = EncoderShape("small", 48, 2, 3, (1,), 64, 8, 3, prompt_dim=32, decoder_mlp_dim=64)


@pytest.fixture(scope="session")
def small_sam() -> Sam:
    """64 px input, 8 x 8 tokens, windows of 3."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "ENCODERS", {"small": SMALL})
        sam = builder.build("small")
    for name, parameter in sam.named_parameters():
        if "pos" in name or name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.2)
    return sam


@pytest.fixture(scope="session")
def loaded_small(small_sam) -> LoadedSam:
    return LoadedSam(sam=small_sam, shape=SMALL, sha256="0" * 64)


UNEVEN = EncoderShape("uneven", 48, 3, 3, (1,), 112, 8, 6, 32, 64)
"""14 x 14 tokens: windows of 6 reach over the edge."""


@pytest.fixture
def uneven_encoder() -> ImageEncoderViT:
    """112 px input, 14 x 14 tokens, windows of 6, 3 blocks; everything is trained."""
    torch.manual_seed(0)
    encoder = build_image_encoder(UNEVEN)
    for name, parameter in encoder.named_parameters():
        if "pos" in name or name.endswith("bias"):
            nn.init.normal_(parameter, std=0.2)
    return encoder.eval()


@pytest.fixture
def adapt() -> Callable[..., AttachedAdapters]:
    """To attach an adapter that matters: adapt(encoder, method, **settings)."""

    def attach(encoder: ImageEncoderViT, method: str, **settings: object) -> AttachedAdapters:
        config = AdapterConfig.named(method, **settings)
        handle = attach_adapters(encoder, config, torch.Generator().manual_seed(2))
        for parameter in handle.parameters().values():
            nn.init.normal_(parameter, std=0.3)
        encoder.eval()
        return handle

    return attach
