import pytest
import torch
from cobot.sam import chunked_attention
from cobot.sam.chunked_attention import attend_in_chunks

# Of 6 matrices of 12 x 12 scores: all at once; four and then two; one; seven rows and then five.
CHUNKS = [10**6, 4 * 144, 144, 7 * 12]


def inputs(dtype=torch.float64, with_bias=True):
    generator = torch.Generator().manual_seed(0)
    widths = (5, 5, 4, 3, 4) if with_bias else (5, 5, 4)
    return [
        torch.randn(6, 12, width, generator=generator, dtype=dtype).requires_grad_()
        for width in widths
    ]


def attend(query, key, value, *bias):
    return attend_in_chunks(query, key, value, bias or None)


def by_definition(query, key, value, *bias):
    scores = query @ key.mT
    if bias:
        rows, cols = bias
        scores = scores + rows.repeat_interleave(4, dim=-1) + cols.repeat(1, 1, 3)
    return scores.softmax(-1) @ value


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("at_once", CHUNKS)
def test_is_attention_and_so_are_its_gradients(monkeypatch, at_once, with_bias):
    monkeypatch.setattr(chunked_attention, "SCORES_AT_ONCE", at_once)
    given = inputs(with_bias=with_bias)
    ours, expected = attend(*given), by_definition(*given)
    torch.testing.assert_close(ours, expected)
    direction = torch.randn_like(expected)
    pairs = zip(
        torch.autograd.grad(ours, given, direction),
        torch.autograd.grad(expected, given, direction),
        strict=True,
    )
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_long_sums_in_bf16_lose_nothing(monkeypatch):
    """Over 1024 chunks of one query each; summed in bf16 they would stop at a quarter."""
    monkeypatch.setattr(chunked_attention, "SCORES_AT_ONCE", 1024)
    query, key = torch.zeros(2, 1, 1024, 8).bfloat16()
    value = torch.zeros(1, 1024, 1).bfloat16().requires_grad_()
    attend(query, key, value).backward(torch.ones_like(value))
    torch.testing.assert_close(value.grad.float(), torch.ones(1, 1024, 1), rtol=0.01, atol=0)


def test_nothing_as_large_as_the_scores_is_kept_for_the_backward_pass():
    query, key, value, rows, cols = inputs(torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda x: x):
        attend(query, key, value, rows, cols)
    assert kept
    assert all(one.shape[-1] < 12 for one in kept)


def test_works_where_gradients_are_off():
    given = inputs(torch.float32)
    with torch.inference_mode():
        torch.testing.assert_close(attend(*given), by_definition(*given))
