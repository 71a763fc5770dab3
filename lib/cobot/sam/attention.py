"""SAM's attention with decomposed relative position, computed the fast way on stock modules.

Nothing here holds weights: the functions read a stock `segment_anything` attention, whose `qkv`
may be wrapped by an adapter, and give what its own forward gives, to rounding.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from segment_anything.modeling.image_encoder import Attention
from torch import Tensor

BIAS_ELEMENTS_AT_ONCE = 2**26
"""Queries are taken in groups so that one group's position bias stays below this many numbers.

Whole, the bias of one global block of vit_b at 1024 px is 0.8 GB a picture in fp32.
"""


def attend_globally(
    attention: Attention, tokens: Float[Tensor, "b h w d"]
) -> Float[Tensor, "b h w d"]:
    """Every token attends to every token of its picture.

    Args:
        attention: a stock attention: `qkv`, `proj`, `num_heads`, `scale`, `rel_pos_h`, `rel_pos_w`.
        tokens: the block's normed tokens.
    """
    b, h, w, _ = tokens.shape
    qkv = attention.qkv(tokens).reshape(b, h * w, 3, attention.num_heads, -1)
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    mixed = _attend(attention, query, key, value, (h, w))
    return attention.proj(mixed.transpose(1, 2).reshape(b, h, w, -1))


def attend_in_windows(
    attention: Attention, tokens: Float[Tensor, "b h w d"], window: int
) -> Float[Tensor, "b h w d"]:
    """Every token attends to the tokens of its window; windows are a batch.

    Windows start at the top left. Those that reach over the edge are filled up, as stock SAM does
    it, with zero tokens; the projection of a zero token is the bias of `qkv`, so real tokens alone
    are projected and the rest is filled with that bias. An adapter without bias keeps this exact.

    Args:
        attention: a stock attention, see `attend_globally`; its `qkv` has a `bias`, maybe None.
        tokens: the block's normed tokens.
        window: side of a window, in tokens.
    """
    _, h, w, _ = tokens.shape
    projected = _fill_up(attention.qkv(tokens), attention.qkv.bias, window)
    b, full_h, full_w, width = projected.shape
    down, across, heads = full_h // window, full_w // window, attention.num_heads
    split = projected.reshape(b, down, window, across, window, 3, heads, width // (3 * heads))
    qkv = split.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(
        3, b * down * across, heads, window * window, -1
    )
    query, key, value = qkv.unbind(0)
    mixed = _attend(attention, query, key, value, (window, window))
    whole = mixed.reshape(b, down, across, heads, window, window, -1).permute(0, 1, 4, 2, 5, 3, 6)
    return attention.proj(whole.reshape(b, full_h, full_w, -1)[:, :h, :w])


def relative_positions(
    table: Float[Tensor, "distances c"], size: int
) -> Float[Tensor, "size size c"]:
    """One vector for each pair (query index, key index) along an axis of `size` tokens.

    Args:
        table: one row for each signed distance; interpolated when it was made for another size,
            linearly, as segment_anything does it.
        size: tokens along the axis.
    """
    distances = 2 * size - 1
    if len(table) != distances:
        table = F.interpolate(table.T[None], size=distances, mode="linear")[0].T
    index = torch.arange(size, device=table.device)
    return table[index[:, None] - index[None, :] + size - 1]


def _fill_up(
    projected: Float[Tensor, "b h w c"], bias: Float[Tensor, " c"] | None, window: int
) -> Float[Tensor, "b full_h full_w c"]:
    b, h, w, c = projected.shape
    full_h, full_w = -(-h // window) * window, -(-w // window) * window
    if (full_h, full_w) == (h, w):
        return projected
    filler = projected.new_zeros(c) if bias is None else bias.to(projected.dtype)
    filled = filler.expand(b, full_h, full_w, c).clone()
    filled[:, :h, :w] = projected
    return filled


def _attend(
    attention: Attention,
    query: Float[Tensor, "b heads n c"],
    key: Float[Tensor, "b heads n c"],
    value: Float[Tensor, "b heads n c"],
    grid: tuple[int, int],
) -> Float[Tensor, "b heads n c"]:
    """Scaled dot product with the relative position of grid rows and columns as bias."""
    h, w = grid
    b, heads, n, c = query.shape
    to_rows = relative_positions(attention.rel_pos_h, h)
    to_cols = relative_positions(attention.rel_pos_w, w)
    by_place = query.reshape(b, heads, h, w, c)
    row_bias = torch.einsum("bnhwc,hkc->bnhwk", by_place, to_rows).reshape(b, heads, n, h, 1)
    col_bias = torch.einsum("bnhwc,wkc->bnhwk", by_place, to_cols).reshape(b, heads, n, 1, w)
    group = max(1, BIAS_ELEMENTS_AT_ONCE // (b * heads * n))
    mixed = [
        F.scaled_dot_product_attention(
            query[:, :, start : start + group],
            key,
            value,
            attn_mask=(
                row_bias[:, :, start : start + group] + col_bias[:, :, start : start + group]
            )
            .flatten(3)
            .to(query.dtype),
            scale=attention.scale,
        )
        for start in range(0, n, group)
    ]
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=2)
