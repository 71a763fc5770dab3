"""Sums over the processes of a training; with one process, the value itself."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn


def summed(fabric: Fabric, tensor: Tensor) -> Tensor:
    """The sum of every process's tensor, on this process's device; all must call it."""
    total = fabric.all_reduce(tensor.to(fabric.device), reduce_op="sum")
    assert isinstance(total, Tensor)
    return total


def any_process(fabric: Fabric, here: bool) -> bool:
    """Whether something holds in at least one process; all must call it."""
    return float(summed(fabric, Tensor([float(here)]))) > 0


def mean_gradients(fabric: Fabric, parameters: Sequence[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the processes, in one exchange; all must call it."""
    if fabric.world_size > 1:
        total = summed(fabric, flat_gradients(parameters))
        _spread(parameters, total / fabric.world_size)


def flat_gradients(parameters: Sequence[nn.Parameter]) -> Float[Tensor, " n"]:
    """All gradients in one row; zeros where there is none."""
    return torch.cat(
        [
            torch.zeros_like(one).flatten() if one.grad is None else one.grad.flatten()
            for one in parameters
        ]
    )


def _spread(parameters: Sequence[nn.Parameter], flat: Float[Tensor, " n"]) -> None:
    """The inverse of `flat_gradients`."""
    parts = flat.split([one.numel() for one in parameters])
    for one, part in zip(parameters, parts, strict=True):
        one.grad = part.reshape(one.shape)
