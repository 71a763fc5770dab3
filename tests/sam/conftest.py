"""A SAM of tiny's kind but smaller, its random weights nowhere zero."""

import pytest
import torch
from cobot.sam import build as builder
from cobot.sam.build import EncoderShape
from cobot.sam.weights import LoadedSam
from segment_anything.modeling import Sam

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
