"""Small SAMs with weights that are random but nowhere zero, made once."""

import pytest
import torch
from cobot.sam.build import build, encoder_shape
from cobot.sam.weights import LoadedSam
from segment_anything.modeling import Sam


def stir(module):
    """Give positions, biases and tokens that start at zero values that matter."""
    for name, parameter in module.named_parameters():
        if "pos" in name or name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.2)
    return module.eval()


@pytest.fixture(scope="session")
def tiny_sam() -> Sam:
    torch.manual_seed(0)
    return stir(build("tiny"))


@pytest.fixture(scope="session")
def loaded_tiny(tiny_sam) -> LoadedSam:
    return LoadedSam(sam=tiny_sam, shape=encoder_shape("tiny"), sha256="0" * 64)
