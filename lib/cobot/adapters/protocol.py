"""What the rest of the package asks of an adapter layer and of an encoder's shape."""

from typing import Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class AdapterModule(Protocol):
    """A layer that wraps a base layer of the encoder and can name its own parameters.

    `base` is the untouched original; everything else is the adapter's.
    """

    base: nn.Module

    def adapter_parameters(self) -> dict[str, nn.Parameter]:
        """Return the layer's own parameters by local name; never those of `base`."""

    def orchestration_parameters(self) -> dict[str, nn.Parameter]:
        """Return the part of them that COBOT adds: coefficients and head (Lambda and W)."""

    def folded(self) -> nn.Module:
        """Return a new layer of the same function without COBOT's parts (and without LoRA)."""

    def train(self, mode: bool = True) -> nn.Module:
        """Set training mode, as `nn.Module.train`."""
