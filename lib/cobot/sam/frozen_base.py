"""A frozen encoder at half the size, its adapters at full precision."""

import torch
from torch import nn


@torch.no_grad()
def cast_frozen(encoder: nn.Module, dtype: torch.dtype = torch.bfloat16) -> None:
    """Cast, in place, every floating-point parameter that is not trained; trained ones stay.

    For training under autocast in the same dtype: the tokens between blocks, and with them most of
    what is kept for the backward pass, then take half the memory, and no weight is cast at every
    step. Attach adapters before, for they take over the dtype of what they are attached to.

    The rounding cannot be undone. Save the adapter alone and load it onto a fresh base to fold it,
    so that the sum is taken in full precision.

    Args:
        encoder: with adapters attached, everything else frozen.
        dtype: bfloat16; not float16, in which SAM's activations overflow.
    """
    for parameter in encoder.parameters():
        if not parameter.requires_grad and parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
