"""The one place where it is decided how the image encoder is computed."""

import os
from dataclasses import dataclass
from typing import Literal

import torch

from cobot.errors import ConfigError
from cobot.sam.attention_forms import AttentionForm

Precision = Literal["fp32", "bf16", "auto"]
"""Of the encoder's blocks at inference; "auto" is what `choose_dtype` makes of the device."""

PRECISION_VARIABLE = "COBOT_PRECISION"
"""Environment variable: what "auto" means in this process."""


@dataclass(frozen=True, slots=True)
class EncoderPlan:
    """How the blocks are computed. Every plan gives the same numbers, to rounding.

    Attributes:
        windows: form of attention within windows.
        whole: form of attention over the whole picture.
        checkpointing: keep only the tokens between blocks for the backward pass and compute the
            rest again: about a tenth of the memory for a third more work.
    """

    windows: AttentionForm
    whole: AttentionForm
    checkpointing: bool = False


def choose_plan(
    device: torch.device, dtype: torch.dtype, *, training: bool = False, checkpointing: bool = False
) -> EncoderPlan:
    """The fastest known forms; on CUDA in training, those that keep no bias in memory.

    Measured on a CPU (decision 4). For CUDA from published measurements and counted traffic.

    Args:
        device: where the tokens are.
        dtype: of the products: under autocast its dtype.
        training: gradients are wanted.
        checkpointing: see `EncoderPlan`.
    """
    if device.type == "cpu":
        # Adding a bias to rows of 14 numbers is slow in bf16, products are fast.
        narrow = dtype == torch.bfloat16 and not training
        return EncoderPlan(
            "chunked concatenated" if narrow else "chunked", "chunked", checkpointing
        )
    if training:
        return EncoderPlan("concatenated", "concatenated", checkpointing)
    return EncoderPlan("biased", "biased", checkpointing)


def choose_dtype(wanted: Precision, device: torch.device) -> torch.dtype:
    """The dtype of the blocks at inference.

    "auto" is what `PRECISION_VARIABLE` says, or else bf16 on processors that multiply in it, CUDA
    cards as CPUs, and fp32 on others. Masks of the two agree to a Dice above 0.995 (decision 4);
    where they must be the same on every machine, ask for fp32.

    Raises:
        ConfigError: `wanted`, or the variable, is no known precision.
    """
    asked: str = wanted
    if wanted == "auto":
        asked = os.environ.get(PRECISION_VARIABLE) or "auto"
    if asked == "auto":
        fast = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if device.type == "cuda"
            else cpu_is_fast_in_bf16()
        )
        return torch.bfloat16 if fast else torch.float32
    known = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if asked not in known:
        where = "" if asked == wanted else f" in {PRECISION_VARIABLE}"
        raise ConfigError(f"Unknown precision {asked!r}{where}; expected fp32, bf16 or auto.")
    return known[asked]


def cpu_is_fast_in_bf16() -> bool:
    """Whether this CPU has instructions for bf16 products; without them bf16 is slower."""
    known = torch.cpu.get_capabilities()
    return bool(known.get("avx512_bf16", False) or known.get("amx_bf16", False))
