"""The encoder in two parts: blocks that stay frozen, computed once a slice, and the rest.

When adapters start at a later block, everything before it gives the same tokens in every epoch.
Kept, they spare that part of the work; 6.3 MB a slice for vit_b at 1024 px in bf16. Pictures that
are augmented anew every time have new tokens every time, and nothing to keep.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import final

import torch
from jaxtyping import Float
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor

from cobot.errors import ConfigError
from cobot.sam.encoder import apply_blocks, embed_patches, finish
from cobot.sam.encoder_plan import EncoderPlan


def first_trained_block(encoder: ImageEncoderViT) -> int:
    """The first block with a parameter that is trained; the number of blocks if there is none.

    What comes before the blocks counts as block 0.
    """
    if any(p.requires_grad for p in (encoder.pos_embed, *encoder.patch_embed.parameters())):
        return 0
    trained = (
        index
        for index, block in enumerate(encoder.blocks)
        if any(parameter.requires_grad for parameter in block.parameters())
    )
    return next(trained, len(encoder.blocks))


@torch.no_grad()
def encode_prefix(
    encoder: ImageEncoderViT, pixels: Float[Tensor, "b 3 side side"], first_block: int
) -> Float[Tensor, "b h w d"]:
    """The tokens that enter a block, without gradients.

    Args:
        encoder: with nothing trained before the block.
        pixels: normalised pictures.
        first_block: the block that `encode_suffix` starts with.

    Raises:
        ConfigError: there is no such block, or something is trained before it.
    """
    trained = first_trained_block(encoder)
    if not 0 <= first_block <= min(trained, len(encoder.blocks)):
        raise ConfigError(
            f"The frozen prefix cannot end before block {first_block}: the encoder has "
            f"{len(encoder.blocks)} blocks and is trained from block {trained} on; choose a block "
            f"from 0 to {trained}."
        )
    return apply_blocks(encoder.blocks[:first_block], embed_patches(encoder, pixels))


def encode_suffix(
    encoder: ImageEncoderViT,
    tokens: Float[Tensor, "b h w d"],
    first_block: int,
    plan: EncoderPlan | None = None,
) -> Float[Tensor, "b c h w"]:
    """From the tokens of `encode_prefix` to the embedding; gradients as of `encode_image`.

    Args:
        encoder: the same.
        tokens: on any device, in any dtype: they take over the encoder's.
        first_block: as in `encode_prefix`.
        plan: as in `encode_image`.
    """
    tokens = tokens.to(encoder.pos_embed)
    return finish(encoder, apply_blocks(encoder.blocks[first_block:], tokens, plan))


@final
class PrefixCache:
    """Prefix tokens in memory, the least recently used let go.

    Valid for one encoder whose blocks before the first trained one do not change. Tokens are
    rounded whether they were kept or not, so that it makes no difference which were.
    """

    def __init__(self, limit_bytes: int, dtype: torch.dtype = torch.bfloat16) -> None:
        self._limit_bytes = limit_bytes
        self._dtype = dtype
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0

    @property
    def bytes_held(self) -> int:
        """Of all tokens kept now."""
        return self._bytes

    def tokens(
        self, key: str, compute: Callable[[], Float[Tensor, "1 h w d"]]
    ) -> Float[Tensor, "1 h w d"]:
        """Tokens of one picture, computed when they are not kept; on the CPU, in the cache's dtype.

        Args:
            key: of the picture as the encoder sees it: slice, window, side.
            compute: gives the tokens, see `encode_prefix`.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        tokens = compute().to("cpu", self._dtype)
        if tokens.nbytes <= self._limit_bytes:
            self._kept[key] = tokens
            self._bytes += tokens.nbytes
        while self._bytes > self._limit_bytes:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return tokens
