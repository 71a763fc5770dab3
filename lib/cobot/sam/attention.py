"""SAM's attention with decomposed relative position, computed the fast way on stock modules.

Nothing here holds weights: the functions read a stock `segment_anything` attention, whose `qkv`
may be wrapped by an adapter, and give what its own forward gives, to rounding.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from segment_anything.modeling.image_encoder import Attention, Block
from torch import Tensor

from cobot.sam.attention_forms import AttentionForm, Heads, attend


@dataclass(frozen=True, slots=True, eq=False)
class RelativePositions:
    """One vector for each pair (query index, key index), along the rows and along the columns.

    Of the whole grid, or of a window when attention stays within windows.
    """

    rows: Float[Tensor, "h h c"]
    cols: Float[Tensor, "w w c"]


def block_positions(block: Block, grid: int) -> RelativePositions:
    """A block's relative positions, gathered from its tables; gradients reach the tables.

    Args:
        block: a stock block.
        grid: tokens along each side of the picture.
    """
    reach = block.window_size or grid
    return RelativePositions(
        relative_positions(block.attn.rel_pos_h, reach),
        relative_positions(block.attn.rel_pos_w, reach),
    )


def attend_globally(
    attention: Attention,
    tokens: Float[Tensor, "b h w d"],
    form: AttentionForm,
    positions: RelativePositions,
) -> Float[Tensor, "b h w d"]:
    """Every token attends to every token of its picture.

    Args:
        attention: a stock attention: `qkv`, `proj`, `num_heads`, `scale`.
        tokens: the block's normed tokens.
        form: how it is computed.
        positions: of the whole grid.
    """
    b, h, w, _ = tokens.shape
    qkv = attention.qkv(tokens).reshape(b, h * w, 3, attention.num_heads, -1)
    heads = _positioned(attention, qkv.permute(2, 0, 3, 1, 4), positions)
    mixed = attend(heads, form)
    return attention.proj(mixed.transpose(1, 2).reshape(b, h, w, -1))


def attend_in_windows(
    attention: Attention,
    tokens: Float[Tensor, "b h w d"],
    form: AttentionForm,
    positions: RelativePositions,
) -> Float[Tensor, "b h w d"]:
    """Every token attends to the tokens of its window; windows are a batch.

    Windows start at the top left. Those that reach over the edge are filled up, as stock SAM does
    it, with zero tokens; the projection of a zero token is the bias of `qkv`, so real tokens alone
    are projected and the rest is filled with that bias. An adapter without bias keeps this exact.

    Args:
        attention: a stock attention, see `attend_globally`; its `qkv` has a `bias`, maybe None.
        tokens: the block's normed tokens.
        form: how it is computed.
        positions: of one window.
    """
    _, h, w, _ = tokens.shape
    window = len(positions.rows)
    projected = _fill_up(attention.qkv(tokens), attention.qkv.bias, window)
    b, full_h, full_w, width = projected.shape
    down, across, heads = full_h // window, full_w // window, attention.num_heads
    split = projected.reshape(b, down, window, across, window, 3, heads, width // (3 * heads))
    qkv = split.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(
        3, b * down * across, heads, window * window, -1
    )
    mixed = attend(_positioned(attention, qkv, positions), form)
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


def _positioned(
    attention: Attention, qkv: Float[Tensor, "3 b heads n c"], positions: RelativePositions
) -> Heads:
    """The heads with the bias that each query gives to rows and columns of keys."""
    query, key, value = qkv.unbind(0)
    h, w = len(positions.rows), len(positions.cols)
    by_place = query.unflatten(2, (h, w))
    row_bias = torch.einsum("bnhwc,hkc->bnhwk", by_place, positions.rows).flatten(2, 3)
    col_bias = torch.einsum("bnhwc,wkc->bnhwk", by_place, positions.cols).flatten(2, 3)
    return Heads(query * attention.scale, key, value, row_bias, col_bias)
