"""From a framed picture to SAM's image embedding, at any side that is a multiple of the patch."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import Block
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cobot.errors import ConfigError
from cobot.sam.attention import (
    RelativePositions,
    attend_globally,
    attend_in_windows,
    block_positions,
)
from cobot.sam.encoder_plan import EncoderPlan, choose_plan


def encode_image(
    encoder: ImageEncoderViT,
    pixels: Float[Tensor, "b 3 side side"],
    plan: EncoderPlan | None = None,
) -> Float[Tensor, "b c h w"]:
    """Embed pictures: what `encoder(pixels)` gives, faster, in less memory, and at other sides.

    Weights are read from `encoder` at every call, so adapters attached to its blocks take part
    and gradients reach it; autocast and inference mode are the caller's. At another side than
    the trained one the position tables are interpolated: the absolute one bicubically, the
    relative ones linearly. Equal to the stock forward to 1e-5 in fp32 at the trained side.

    Args:
        encoder: a stock image encoder, its blocks adapted or not.
        pixels: normalised pictures.
        plan: how to compute it; by default `choose_plan` for where the pictures are.

    Returns:
        One embedding of (side / patch) x (side / patch) tokens each.

    Raises:
        ConfigError: the side is not a multiple of the patch size.
    """
    tokens = embed_patches(encoder, pixels)
    return finish(encoder, apply_blocks(encoder.blocks, tokens, plan))


def embed_patches(
    encoder: ImageEncoderViT, pixels: Float[Tensor, "b 3 side side"]
) -> Float[Tensor, "b h w d"]:
    """Tokens that know their place: what enters the first block.

    In the pictures' own precision, whatever the caller's autocast.

    Raises:
        ConfigError: the side is not a multiple of the patch size.
    """
    require_whole_patches(pixels.shape[-1], encoder.patch_embed.proj.kernel_size[0])
    # In bf16 a grey value would be off by up to half a level; it is a thousandth of the work.
    with torch.autocast(pixels.device.type, enabled=False):
        tokens = encoder.patch_embed(pixels)
    return tokens + position_table(encoder.pos_embed, tokens.shape[1])


def apply_blocks(
    blocks: Iterable[Block], tokens: Float[Tensor, "b h w d"], plan: EncoderPlan | None = None
) -> Float[Tensor, "b h w d"]:
    """Some blocks of the image encoder, one after the other; see `encode_image`."""
    plan = plan or _plan_for(tokens)
    for block in blocks:
        positions = block_positions(block, tokens.shape[1])
        if plan.checkpointing and torch.is_grad_enabled():
            tokens = checkpoint(apply_block, block, tokens, plan, positions, use_reentrant=False)
        else:
            tokens = apply_block(block, tokens, plan, positions)
    return tokens


def apply_block(
    block: Block,
    tokens: Float[Tensor, "b h w d"],
    plan: EncoderPlan,
    positions: RelativePositions,
) -> Float[Tensor, "b h w d"]:
    """One transformer block of the image encoder."""
    normed = _normed(block.norm1, tokens)
    if block.window_size:
        tokens = tokens + attend_in_windows(block.attn, normed, plan.windows, positions)
    else:
        tokens = tokens + attend_globally(block.attn, normed, plan.whole, positions)
    return tokens + block.mlp(_normed(block.norm2, tokens))


def finish(encoder: ImageEncoderViT, tokens: Float[Tensor, "b h w d"]) -> Float[Tensor, "b c h w"]:
    """From what leaves the last block to the embedding."""
    return encoder.neck(tokens.permute(0, 3, 1, 2))


def position_table(
    table: Float[Tensor, "1 trained trained d"], grid: int
) -> Float[Tensor, "1 grid grid d"]:
    """The absolute position of every token, interpolated when the grid is not the trained one."""
    if table.shape[1] == grid:
        return table
    channels_first = table.permute(0, 3, 1, 2)
    resized = F.interpolate(channels_first, size=(grid, grid), mode="bicubic", align_corners=False)
    return resized.permute(0, 2, 3, 1)


def require_whole_patches(side_px: int, patch_px: int) -> None:
    """Refuse a side that is not a multiple of the patch.

    Raises:
        ConfigError: it is not, or it is 0.
    """
    if side_px % patch_px or side_px == 0:
        raise ConfigError(
            f"The input side is {side_px} px, which is not a multiple of the encoder's patch of "
            f"{patch_px} px; give for example {max(1, round(side_px / patch_px)) * patch_px}."
        )


def _normed(norm: nn.LayerNorm, tokens: Float[Tensor, "b h w d"]) -> Float[Tensor, "b h w d"]:
    """The normed tokens; under CUDA's autocast of a rounded copy, in autocast's dtype.

    By itself autocast norms in fp32 and rounds the result once for each layer that reads it; input
    and results all stay for the backward pass. The copy halves that, and the kernel sums in fp32.
    """
    if not (tokens.is_cuda and torch.is_autocast_enabled("cuda")):
        return norm(tokens)
    dtype = torch.get_autocast_dtype("cuda")
    with torch.autocast("cuda", enabled=False):
        weight, bias = norm.weight.to(dtype), norm.bias.to(dtype)
        return F.layer_norm(tokens.to(dtype), norm.normalized_shape, weight, bias, norm.eps)


def _plan_for(tokens: Tensor) -> EncoderPlan:
    kind = tokens.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tokens.dtype
    return choose_plan(tokens.device, dtype, training=torch.is_grad_enabled())
