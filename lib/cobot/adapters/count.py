"""Trainable parameters of an adapter from shapes alone: no model, no torch."""

from typing import Protocol, runtime_checkable

from cobot.adapters.config import AdapterConfig


@runtime_checkable
class UniformEncoder(Protocol):
    """The part of an encoder's shape that counts: all blocks equally wide."""

    @property
    def embed_dim(self) -> int:
        """Width D of the tokens."""

    @property
    def depth(self) -> int:
        """Number L of blocks."""


def count_parameters(config: AdapterConfig, encoder_shape: UniformEncoder) -> int:
    """Return the adapter's trainable parameters, without the mask decoder.

    With D the width, V the hidden size, T the slots: LoRA has 4DV a block, AdaptFormer
    2D + 2DV + V + D (norm, down, up); coefficients add 2VT, a learned S adds T², the
    hyper-complex head 4(V/4)² a slot, a linear head V² a slot.
    """
    blocks = encoder_shape.depth if config.blocks is None else len(config.blocks)
    slots = blocks * config.slots_per_block
    return (
        blocks * _branch(config, encoder_shape.embed_dim)
        + (2 * config.width * slots if config.coefficients else 0)
        + (slots**2 if config.relation == "learned" else 0)
        + slots * _head(config)
    )


def _branch(config: AdapterConfig, dim: int) -> int:
    """Return a block's parameters without COBOT."""
    width = config.width
    if config.method == "lora":
        return 4 * dim * width
    if config.method == "adaptformer":
        return 2 * dim + 2 * dim * width + width + dim
    return 0


def _head(config: AdapterConfig) -> int:
    """Return a slot's head parameters."""
    return {
        "none": 0,
        "linear": config.width**2,
        "hyper-complex": 4 * (config.width // 4) ** 2,
    }[config.head]
