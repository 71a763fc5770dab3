from typing import get_args

import pytest
import torch
from cobot.sam import attention_forms
from cobot.sam.attention_forms import AttentionForm, Heads, attend

FORMS = get_args(AttentionForm)


def heads(n_rows=3, n_cols=5):
    """Two pictures, four heads of 6 channels, 15 tokens: nothing is a multiple of 8."""
    generator = torch.Generator().manual_seed(0)
    n = n_rows * n_cols
    widths = (6, 6, 6, n_rows, n_cols)
    return Heads(*(torch.randn(2, 4, n, w, generator=generator).requires_grad_() for w in widths))


def parts(given):
    return [given.query, given.key, given.value, given.row_bias, given.col_bias]


def by_definition(given):
    bias = (given.row_bias[..., :, None] + given.col_bias[..., None, :]).flatten(3)
    return (given.query @ given.key.mT + bias).softmax(-1) @ given.value


@pytest.mark.parametrize("grid", [(3, 5), (4, 4), (1, 1)])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_attention(form, grid):
    given = heads(*grid)
    with torch.no_grad():
        torch.testing.assert_close(attend(given, form), by_definition(given))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_gradients_of_attention(form):
    given = heads()
    direction = torch.randn(2, 4, 15, 6)
    ours = torch.autograd.grad(attend(given, form), parts(given), direction)
    expected = torch.autograd.grad(by_definition(given), parts(given), direction)
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_the_bias_may_be_taken_for_some_queries_at_a_time(monkeypatch):
    monkeypatch.setattr(attention_forms, "BIAS_ELEMENTS_AT_ONCE", 2 * 4 * 15 * 4)
    given = heads()
    torch.testing.assert_close(attend(given, "biased"), by_definition(given))


def test_the_bias_is_laid_out_as_fused_kernels_want_it(monkeypatch):
    seen = []

    def watch(query, key, value, attn_mask, scale):
        seen.append(attn_mask)
        return value

    monkeypatch.setattr(attention_forms.F, "scaled_dot_product_attention", watch)
    with torch.no_grad():
        attend(heads(), "biased")
    assert seen[0].shape == (2, 4, 15, 15)
    assert seen[0].stride(-2) == 16


def test_concatenated_widths_are_aligned_and_equal(monkeypatch):
    seen = []

    def watch(query, key, value, scale):
        seen.extend([query.shape[-1], key.shape[-1], value.shape[-1]])
        return value

    monkeypatch.setattr(attention_forms.F, "scaled_dot_product_attention", watch)
    attend(heads(), "concatenated")
    assert seen == [16, 16, 16]
