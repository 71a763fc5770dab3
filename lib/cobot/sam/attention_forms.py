"""One attention, four ways to compute it: which is fastest depends on device, dtype and shape.

All give `softmax(q k^T + row bias + column bias) v`. `cobot.sam.encoder_plan` chooses.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cobot.sam.chunked_attention import attend_in_chunks

AttentionForm = Literal["biased", "concatenated", "chunked", "chunked concatenated"]
"""How attention is computed.

biased: the fused kernel with the position bias as its mask; the bias is written to memory.
concatenated: the positions as further channels of query and key, then the fused kernel without a
    mask: nothing of tokens x tokens is written or kept for the backward pass, for more products.
chunked: a few rows of the scores at a time in a buffer that stays in the cache; a backward pass of
    its own computes them again.
chunked concatenated: the positions as channels, then in chunks.
"""

BIAS_ELEMENTS_AT_ONCE = 2**26
"""Queries are taken in groups so that one group's position bias stays below this many numbers.

Whole, the bias of one global block of vit_b at 1024 px is 0.8 GB a picture in fp32.
"""

ALIGNMENT = 8
"""CUDA's fused kernels want rows of the mask and channels of a head in multiples of this."""


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """What attention needs, for every head; tokens lie on a grid of h rows and w columns.

    Attributes:
        query: already multiplied by the attention's scale.
        key: as projected.
        value: as projected.
        row_bias: added to the scores of all keys in one row of the grid.
        col_bias: added to the scores of all keys in one column of the grid.
    """

    query: Float[Tensor, "b heads n c"]
    key: Float[Tensor, "b heads n c"]
    value: Float[Tensor, "b heads n c"]
    row_bias: Float[Tensor, "b heads n h"]
    col_bias: Float[Tensor, "b heads n w"]


def attend(heads: Heads, form: AttentionForm) -> Float[Tensor, "b heads n c"]:
    """Every token's mixture of values, before the output projection."""
    if form == "biased":
        return _biased(heads)
    if form == "concatenated":
        return _concatenated(heads)
    if form == "chunked":
        bias = (heads.row_bias.flatten(0, 1), heads.col_bias.flatten(0, 1))
        return _in_chunks(heads.query, heads.key, heads.value, bias)
    query, key = with_positions(heads)
    return _in_chunks(query, key, heads.value, None)


def with_positions(heads: Heads) -> tuple[Tensor, Tensor]:
    """Query and key whose plain product is the score with its bias, each (b heads n c+h+w).

    The query is followed by its row and column biases, the key by the one-hot row and column it
    lies in: their product picks one of each.
    """
    rows, cols = heads.row_bias.shape[-1], heads.col_bias.shape[-1]
    index = torch.arange(rows * cols, device=heads.key.device)
    place = torch.cat([F.one_hot(index // cols, rows), F.one_hot(index % cols, cols)], dim=-1)
    spread = place.to(heads.key.dtype).expand(*heads.key.shape[:2], -1, -1)
    query = torch.cat([heads.query, heads.row_bias, heads.col_bias], dim=-1)
    return query, torch.cat([heads.key, spread], dim=-1)


def _in_chunks(
    query: Float[Tensor, "b heads n e"],
    key: Float[Tensor, "b heads n e"],
    value: Float[Tensor, "b heads n c"],
    bias: tuple[Tensor, Tensor] | None,
) -> Float[Tensor, "b heads n c"]:
    flat = attend_in_chunks(query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1), bias)
    return flat.reshape(value.shape)


def _concatenated(heads: Heads) -> Float[Tensor, "b heads n c"]:
    query, key = with_positions(heads)
    channels, joint = heads.value.shape[-1], query.shape[-1]
    aligned = -(-joint // ALIGNMENT) * ALIGNMENT
    # The kernels without tokens x tokens memory want one width for query, key and value.
    mixed = F.scaled_dot_product_attention(
        F.pad(query, (0, aligned - joint)),
        F.pad(key, (0, aligned - joint)),
        F.pad(heads.value, (0, aligned - channels)),
        scale=1.0,
    )
    return mixed[..., :channels]


def _biased(heads: Heads) -> Float[Tensor, "b heads n c"]:
    b, count, n, _ = heads.query.shape
    group = max(1, BIAS_ELEMENTS_AT_ONCE // (b * count * n))
    mixed = [
        F.scaled_dot_product_attention(
            heads.query[:, :, start : start + group],
            heads.key,
            heads.value,
            attn_mask=_bias(
                heads.row_bias[:, :, start : start + group],
                heads.col_bias[:, :, start : start + group],
            ).to(heads.query.dtype),
            scale=1.0,
        )
        for start in range(0, n, group)
    ]
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=2)


def _bias(
    row_bias: Float[Tensor, "b heads q h"], col_bias: Float[Tensor, "b heads q w"]
) -> Float[Tensor, "b heads q n"]:
    """Both biases for every key; without gradients in rows that start at aligned places."""
    rows, cols = row_bias.shape[-1], col_bias.shape[-1]
    keys = rows * cols
    aligned = -(-keys // ALIGNMENT) * ALIGNMENT
    learning = torch.is_grad_enabled() and (row_bias.requires_grad or col_bias.requires_grad)
    if learning or torch.compiler.is_compiling():
        # A compiler makes one pass of it, and cannot write into the rows of a larger tensor.
        bias = (row_bias[..., :, None] + col_bias[..., None, :]).flatten(3)
        return bias if learning else F.pad(bias, (0, aligned - keys))[..., :keys]
    bias = row_bias.new_empty(*row_bias.shape[:3], aligned)[..., :keys]
    torch.add(row_bias[..., :, None], col_bias[..., None, :], out=bias.unflatten(-1, (rows, cols)))
    return bias
