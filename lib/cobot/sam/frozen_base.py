"""A frozen encoder whose matrices take half the memory, its adapters at full precision."""

import torch
from segment_anything.modeling import ImageEncoderViT
from torch import nn

MATRICES = (nn.Linear, nn.Conv2d)
"""What autocast rounds at every step anyway."""


@torch.no_grad()
def cast_frozen(encoder: ImageEncoderViT, dtype: torch.dtype = torch.bfloat16) -> None:
    """Give an encoder's blocks and neck casts of the matrices that are not trained.

    For training under autocast in the same dtype: the result is the same, but no weight is cast at
    every step. Patch embedding, norms and positions stay, and with them the tokens between blocks:
    rounded there too, gradients are several times as far from those in fp32 (decision 4).

    The casts are parameters of their own: another module that shares the old ones, such as the base
    that an adapter is measured on, keeps them in full precision. Fold the adapter there.

    Args:
        encoder: with adapters attached, everything else frozen.
        dtype: bfloat16; not float16, in which SAM's activations overflow.
    """
    for module in (*encoder.blocks.modules(), *encoder.neck.modules()):
        if isinstance(module, MATRICES):
            for name, parameter in module.named_parameters(recurse=False):
                if not parameter.requires_grad:
                    setattr(module, name, nn.Parameter(parameter.to(dtype), requires_grad=False))
