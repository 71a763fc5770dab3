import pytest
import torch
from cobot.sam.decoder import (
    BOX_FIRST,
    BOX_LAST,
    NEGATIVE,
    NOT_A_POINT,
    POSITIVE,
    DecoderInput,
    PromptTokens,
    decode,
    embed_masks,
    embed_prompts,
    grid_positions,
)

POINTS = PromptTokens(
    torch.tensor([[[10.0, 20.0], [60.5, 29.0], [0.0, 0.0]]]),
    torch.tensor([[POSITIVE, NEGATIVE, NOT_A_POINT]]),
)
BOX = PromptTokens(
    torch.tensor([[[12.0, 30.0], [40.0, 60.0]]]), torch.tensor([[BOX_FIRST, BOX_LAST]])
)
POINT_AND_BOX = PromptTokens(
    torch.tensor([[[10.0, 20.0], [12.0, 30.0], [40.0, 60.0]]]),
    torch.tensor([[NEGATIVE, BOX_FIRST, BOX_LAST]]),
)


@pytest.fixture(scope="module")
def features():
    return torch.randn(1, 32, 8, 8, generator=torch.Generator().manual_seed(0))


def answer(sam, features, tokens, masks=None):
    encoder = sam.prompt_encoder
    grid = features.shape[-1]
    given = DecoderInput(
        features=features,
        positions=grid_positions(encoder, grid),
        sparse=embed_prompts(encoder, tokens, 8 * grid),
        dense=embed_masks(encoder, masks or [None] * len(tokens.kind), grid),
    )
    return decode(sam.mask_decoder, given)


@torch.inference_mode()
def test_equals_the_stock_prompt_encoder(small_sam):
    encoder = small_sam.prompt_encoder
    cases = [
        (POINTS, (POINTS.xy[:, :2], POINTS.kind[:, :2]), None),
        (BOX, None, BOX.xy.reshape(1, 4)),
        (POINT_AND_BOX, (POINT_AND_BOX.xy[:, :1], POINT_AND_BOX.kind[:, :1]), BOX.xy.reshape(1, 4)),
    ]
    for tokens, points, boxes in cases:
        sparse, dense = encoder(points, boxes, None)
        torch.testing.assert_close(embed_prompts(encoder, tokens, 64), sparse)
        torch.testing.assert_close(embed_masks(encoder, [None], 8), dense)
    mask = torch.randn(32, 32)
    torch.testing.assert_close(
        embed_masks(encoder, [mask], 8), encoder(None, None, mask[None, None])[1]
    )
    torch.testing.assert_close(grid_positions(encoder, 8), encoder.get_dense_pe())


@torch.inference_mode()
def test_equals_the_stock_decoder(small_sam, features):
    ours = answer(small_sam, features, BOX)
    sparse, dense = small_sam.prompt_encoder(None, BOX.xy.reshape(1, 4), None)
    positions = small_sam.prompt_encoder.get_dense_pe()
    masks, iou = small_sam.mask_decoder.predict_masks(features, positions, sparse, dense)
    torch.testing.assert_close(ours.logits, masks, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.predicted_iou, iou, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_a_smaller_side_sees_the_same_places(small_sam):
    half = PromptTokens((BOX.xy + 0.5) / 2 - 0.5, BOX.kind)
    encoder = small_sam.prompt_encoder
    before = (encoder.input_image_size, encoder.image_embedding_size)
    torch.testing.assert_close(
        embed_prompts(encoder, half, 32), embed_prompts(encoder, BOX, 64), rtol=0, atol=1e-5
    )
    assert answer(small_sam, torch.randn(1, 32, 4, 4), half).logits.shape == (1, 4, 16, 16)
    assert (encoder.input_image_size, encoder.image_embedding_size) == before


@torch.inference_mode()
def test_every_prompt_may_have_its_own_picture(small_sam, features):
    other = torch.randn(1, 32, 8, 8, generator=torch.Generator().manual_seed(1))
    masks = [None, torch.randn(32, 32)]
    tokens = PromptTokens(BOX.xy.repeat(2, 1, 1), BOX.kind.repeat(2, 1))
    together = answer(small_sam, torch.cat([features, other]), tokens, masks).logits
    apart = [
        answer(small_sam, picture, BOX, [mask]).logits
        for picture, mask in zip((features, other), masks, strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-4, atol=1e-5)


def test_a_place_means_nothing_for_what_is_not_a_point(small_sam):
    here, there = (
        PromptTokens(torch.full((1, 1, 2), place), torch.tensor([[NOT_A_POINT]]))
        for place in (0.0, 99.0)
    )
    encoder = small_sam.prompt_encoder
    assert torch.equal(embed_prompts(encoder, here, 64), embed_prompts(encoder, there, 64))


@torch.inference_mode()
def test_places_stay_exact_under_autocast(small_sam):
    encoder = small_sam.prompt_encoder
    exact, grid = embed_prompts(encoder, POINTS, 64), grid_positions(encoder, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(embed_prompts(encoder, POINTS, 64), exact)
        assert torch.equal(grid_positions(encoder, 8), grid)


def test_gradients_reach_prompt_encoder_and_decoder(small_sam, features):
    names = ["mask_tokens.weight", "iou_token.weight"]
    parameters = dict(small_sam.mask_decoder.named_parameters())
    wanted = [parameters[name] for name in names]
    wanted.append(small_sam.prompt_encoder.point_embeddings[2].weight)
    with torch.autocast("cpu", torch.bfloat16):
        answered = answer(small_sam, features, BOX)
        loss = answered.logits.float().square().mean() + answered.predicted_iou.float().sum()
    assert all(gradient.abs().max() > 0 for gradient in torch.autograd.grad(loss, wanted))
