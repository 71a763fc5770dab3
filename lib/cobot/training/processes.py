"""Sums over the processes of a training; with one process, the value itself."""

from lightning_fabric import Fabric
from torch import Tensor


def summed(fabric: Fabric, tensor: Tensor) -> Tensor:
    """The sum of every process's tensor, on this process's device; all must call it."""
    total = fabric.all_reduce(tensor.to(fabric.device), reduce_op="sum")
    assert isinstance(total, Tensor)
    return total


def any_process(fabric: Fabric, here: bool) -> bool:
    """Whether something holds in at least one process; all must call it."""
    return float(summed(fabric, Tensor([float(here)]))) > 0
