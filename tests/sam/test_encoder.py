from dataclasses import replace
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from cobot.adapters.attach import attach_adapters
from cobot.adapters.config import AdapterConfig
from cobot.errors import ConfigError
from cobot.sam import attention_forms, chunked_attention
from cobot.sam.attention import relative_positions
from cobot.sam.attention_forms import AttentionForm
from cobot.sam.build import EncoderShape, build_image_encoder
from cobot.sam.encoder import encode_image, position_table
from cobot.sam.encoder_plan import EncoderPlan
from segment_anything.modeling.image_encoder import get_rel_pos
from torch import nn

FORMS = get_args(AttentionForm)

# Windows of 6 and 14 do not divide grids of 14 and 16; windows of 7 divide 14.
UNEVEN = EncoderShape("uneven", 48, 3, 3, (1,), 112, 8, 6, 32, 64)
EVEN = replace(UNEVEN, window_size=7)
VIT_B_WIDTH = EncoderShape("vit_b_like", 768, 2, 12, (1,), 256)


def small_encoder(shape):
    """Random, with positions and biases that matter (they start at zero)."""
    torch.manual_seed(0)
    encoder = build_image_encoder(shape)
    for name, parameter in encoder.named_parameters():
        if "pos" in name or name.endswith("bias"):
            nn.init.normal_(parameter, std=0.2)
    return encoder.eval()


def pictures(shape, count=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, shape.image_size_px, shape.image_size_px, generator=generator)


@pytest.mark.parametrize("shape", [UNEVEN, EVEN, VIT_B_WIDTH], ids=["uneven", "even", "vit_b"])
def test_equals_the_stock_encoder(shape):
    encoder, batch = small_encoder(shape), pictures(shape)
    with torch.inference_mode():
        torch.testing.assert_close(encode_image(encoder, batch), encoder(batch), rtol=0, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_equals_the_stock_encoder_at_every_batch(monkeypatch, form, count):
    monkeypatch.setattr(attention_forms, "BIAS_ELEMENTS_AT_ONCE", 5000)
    monkeypatch.setattr(chunked_attention, "SCORES_AT_ONCE", 5000)
    encoder, batch = small_encoder(UNEVEN), pictures(UNEVEN, count)
    with torch.inference_mode():
        stock = encoder(batch)
        ours = encode_image(encoder, batch, EncoderPlan(form, form))
    assert (ours - stock).norm() <= 1e-5 * stock.norm()


def test_equals_the_stock_encoder_without_qkv_bias():
    encoder, batch = small_encoder(UNEVEN), pictures(UNEVEN)
    for block in encoder.blocks:
        block.attn.qkv.bias = None
    with torch.inference_mode():
        torch.testing.assert_close(encode_image(encoder, batch), encoder(batch), rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", ["lora+cobot", "adaptformer+cobot"])
def test_adapters_take_part(method):
    encoder, batch = small_encoder(UNEVEN), pictures(UNEVEN)
    with torch.inference_mode():
        before = encode_image(encoder, batch)
    attach_adapters(encoder, AdapterConfig.named(method), torch.Generator().manual_seed(2))
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3 if "blocks" in name else 1.0)
    encoder.eval()
    with torch.inference_mode():
        adapted = encode_image(encoder, batch)
        torch.testing.assert_close(adapted, encoder(batch), rtol=0, atol=1e-4)
    assert (adapted - before).abs().max() > 0.01


@pytest.mark.parametrize("plan", [None, *(EncoderPlan(f, f, True) for f in FORMS)])
@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
def test_gradients_equal_the_stock_ones(bf16, plan):
    encoder, batch = small_encoder(UNEVEN), pictures(UNEVEN, 1)
    direction = torch.randn(1, 32, 14, 14, generator=torch.Generator().manual_seed(3))

    def gradients(run):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = (run(batch).float() * direction).sum()
        return torch.autograd.grad(loss, list(encoder.parameters()))

    pairs = zip(
        gradients(encoder), gradients(lambda x: encode_image(encoder, x, plan)), strict=True
    )
    for (name, _), (stock, ours) in zip(encoder.named_parameters(), pairs, strict=True):
        assert F.cosine_similarity(stock.flatten(), ours.flatten(), dim=0) >= 0.999, name


def test_a_step_of_training_under_autocast_lowers_the_loss():
    encoder, batch = small_encoder(UNEVEN).train(), pictures(UNEVEN)
    target = torch.randn(2, 32, 14, 14, generator=torch.Generator().manual_seed(3))
    optimiser = torch.optim.SGD(encoder.parameters(), lr=0.02)
    losses = []
    for _ in range(4):
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.mse_loss(encode_image(encoder, batch).float(), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("side", [8, 56, 64, 112, 160])
def test_any_side_of_whole_patches_works(side):
    encoder = small_encoder(UNEVEN)
    with torch.inference_mode():
        embedded = encode_image(encoder, torch.randn(1, 3, side, side))
    assert embedded.shape == (1, 32, side // 8, side // 8)
    assert embedded.isfinite().all()


def test_a_smaller_side_equals_the_stock_encoder_with_resized_positions():
    encoder, batch = small_encoder(UNEVEN), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        ours = encode_image(encoder, batch)
        encoder.pos_embed = nn.Parameter(position_table(encoder.pos_embed, 8).clone())
        torch.testing.assert_close(ours, encoder(batch), rtol=0, atol=1e-4)


@pytest.mark.parametrize("side", [60, 113])
def test_refuses_parts_of_patches(side):
    with pytest.raises(ConfigError, match=f"{side} px, which is not a multiple.*patch of 8 px"):
        encode_image(small_encoder(UNEVEN), torch.randn(1, 3, side, side))


@pytest.mark.parametrize("size", [3, 7, 11])
def test_relative_positions_are_segment_anythings(size):
    table = torch.randn(13, 4)
    torch.testing.assert_close(relative_positions(table, size), get_rel_pos(size, size, table))


def test_interpolated_positions_keep_a_smooth_table_and_a_constant():
    ramp = torch.linspace(0, 1, 16).reshape(1, 16, 1, 1).expand(1, 16, 16, 1)
    half = position_table(ramp, 8)[0, 1:-1, 0, 0]
    expected = (torch.arange(8) * 2 + 0.5)[1:-1] / 15
    torch.testing.assert_close(half, expected, rtol=0, atol=0.01)
    constant = torch.full((1, 16, 16, 3), 0.7)
    torch.testing.assert_close(position_table(constant, 5), torch.full((1, 5, 5, 3), 0.7))
