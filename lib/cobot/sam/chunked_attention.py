"""Attention in chunks of scores that stay in a CPU's cache, with a backward pass to match.

Forward and backward hold one chunk of the scores and never the whole matrix: the backward pass
computes each chunk's weights again from query and key. That is the memory of a fused kernel at
the speed of plain matrix products, which no fused kernel for CPUs reaches yet (decision 4).
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

SCORES_AT_ONCE = 2**20
"""Numbers in one chunk of scores: 4 MB in fp32; the best of 2^17 to 2^20, see decision 4."""


def attend_in_chunks(
    query: Float[Tensor, "m n e"],
    key: Float[Tensor, "m n e"],
    value: Float[Tensor, "m n c"],
    bias: tuple[Float[Tensor, "m n h"], Float[Tensor, "m n w"]] | None,
) -> Float[Tensor, "m n c"]:
    """`softmax(q k^T + bias) v` for m independent matrices (pictures x windows x heads).

    Differentiable once, with exact gradients of all inputs.

    Args:
        query: already scaled.
        key: of tokens in row-major order on an h x w grid.
        value: what is mixed.
        bias: for each query, what is added for a key's row and for its column; None adds nothing.
    """
    row_bias, col_bias = bias if bias is not None else (None, None)
    mixed = _ChunkedAttention.apply(
        query.contiguous(), key.contiguous(), value.contiguous(), row_bias, col_bias
    )
    return cast(Tensor, mixed)


@final
class _ChunkedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, *bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(query, key, value, *bias)
        buffers = _buffers(query)
        mixed = torch.empty_like(value)
        for some in _groups(query):
            for rows in _row_chunks(query):
                weights = _weights(query[some, rows], key[some], _part(bias, some, rows), buffers)
                _multiply(weights, value[some], mixed[some, rows])
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *bias = ctx.saved_tensors
        to_query, to_key, to_value = (torch.empty_like(one) for one in (query, key, value))
        to_bias = [None if one is None else torch.empty_like(one) for one in bias]
        buffers = _buffers(query)
        for some in _groups(query):
            # Long sums, over all queries: in fp32, for in bf16 small terms would be lost.
            key_sum = torch.zeros(key[some].shape, dtype=torch.float32)
            value_sum = torch.zeros(value[some].shape, dtype=torch.float32)
            for rows in _row_chunks(query):
                weights = _weights(query[some, rows], key[some], _part(bias, some, rows), buffers)
                value_sum += weights.mT @ grad[some, rows]
                to_scores = _softmax_gradient(weights, grad[some, rows] @ value[some].mT)
                _multiply(to_scores, key[some], to_query[some, rows])
                key_sum += to_scores.mT @ query[some, rows]
                _sum_to_bias(to_scores, _part(to_bias, some, rows))
            to_key[some], to_value[some] = key_sum, value_sum
        return to_query, to_key, to_value, *to_bias


def _groups(query: Float[Tensor, "m n e"]) -> Iterator[slice]:
    """Several small matrices at once, or one large one."""
    size = max(1, SCORES_AT_ONCE // query.shape[1] ** 2)
    return _slices(len(query), size)


def _row_chunks(query: Float[Tensor, "m n e"]) -> Iterator[slice]:
    """All queries of small matrices, or some of a large one."""
    n = query.shape[1]
    return _slices(n, min(n, max(1, SCORES_AT_ONCE // n)))


def _slices(stop: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, stop)) for start in range(0, stop, size))


def _part(bias: Sequence[Tensor | None], some: slice, rows: slice) -> list[Tensor]:
    return [one[some, rows] for one in bias if one is not None]


def _buffers(query: Float[Tensor, "m n e"]) -> tuple[Tensor, Tensor]:
    """For a chunk's scores and for its weights."""
    m, n, _ = query.shape
    matrices = min(m, max(1, SCORES_AT_ONCE // n**2))
    shape = (matrices, min(n, max(1, SCORES_AT_ONCE // n)), n)
    return query.new_empty(shape), query.new_empty(shape)


def _weights(
    query: Float[Tensor, "g r e"],
    key: Float[Tensor, "g n e"],
    bias: list[Tensor],
    buffers: tuple[Tensor, Tensor],
) -> Float[Tensor, "g r n"]:
    """What each query takes from each key; valid until the buffers are used again."""
    scores, weights = (buffer[: query.shape[0], : query.shape[1]] for buffer in buffers)
    if bias:
        row_bias, col_bias = bias
        grid = (row_bias.shape[-1], col_bias.shape[-1])
        torch.add(row_bias[..., :, None], col_bias[..., None, :], out=scores.unflatten(-1, grid))
        _multiply_and_add(query, key.mT, scores)
    else:
        _multiply(query, key.mT, scores)
    return torch.softmax(scores, dim=-1, out=weights)


def _softmax_gradient(
    weights: Float[Tensor, "g r n"], to_weights: Float[Tensor, "g r n"]
) -> Float[Tensor, "g r n"]:
    """`w (dw - sum(w dw))`, written over `to_weights`."""
    inner = torch.linalg.vecdot(weights, to_weights).unsqueeze(-1)
    return to_weights.sub_(inner).mul_(weights)


def _sum_to_bias(to_scores: Float[Tensor, "g r n"], to_bias: list[Tensor]) -> None:
    if to_bias:
        to_rows, to_cols = to_bias
        by_place = to_scores.unflatten(-1, (to_rows.shape[-1], to_cols.shape[-1]))
        to_rows.copy_(by_place.sum(dim=-1))
        to_cols.copy_(by_place.sum(dim=-2))


def _multiply(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Matrix products into `out`; one alone by the call that is faster for one."""
    if len(left) == 1:
        torch.mm(left[0], right[0], out=out[0])
    else:
        torch.bmm(left, right, out=out)


def _multiply_and_add(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Add matrix products to `out`, in place."""
    if len(left) == 1:
        torch.addmm(out[0], left[0], right[0], out=out[0])
    else:
        torch.baddbmm(out, left, right, out=out)
