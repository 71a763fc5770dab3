"""The reduced decoder against segment_anything's own, at the sizes of vit_b and tiny."""

import pytest
import torch
from cobot.sam import build as builder
from cobot.sam import two_way
from cobot.sam.build import EncoderShape, encoder_shape
from cobot.sam.cpu_threads import one_thread_each
from cobot.sam.decoder import NEGATIVE, NOT_A_POINT, POSITIVE, PromptTokens, embed_prompts
from cobot.sam.reduced_decoder import Question, decode_chosen
from cobot.sam.slice_memory import SliceMemories
from torch.utils.flop_counter import FlopCounterMode

# The real decoders; their encoders are not needed and made as small as can be.
SIZES = {
    "vit_b": EncoderShape("vit_b", 16, 1, 2, ()),
    "tiny": EncoderShape("tiny", 16, 1, 2, (), *(256, 8, 8), prompt_dim=128, decoder_mlp_dim=512),
}


ROUNDING = 1e-6
"""Of the largest logit."""


@pytest.fixture(scope="module", params=SIZES)
def sam(request):
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "ENCODERS", SIZES)
        model = builder.build(request.param).requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture
def features(sam):
    grid = sam.prompt_encoder.image_embedding_size[0]
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, sam.mask_decoder.transformer_dim, grid, grid, generator=generator)


@pytest.fixture
def own_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def places(sam, *shape):
    side = sam.prompt_encoder.input_image_size[0]
    return torch.rand(*shape, 2, generator=torch.Generator().manual_seed(2)) * side


def ours(sam, features, tokens, ambiguous, masks=None):
    """One answer to each prompt."""
    sparse = embed_prompts(sam.prompt_encoder, tokens, sam.prompt_encoder.input_image_size[0])
    changed = features + sam.prompt_encoder.mask_downscaling(masks) if masks is not None else None
    memory = SliceMemories(sam).of(features)
    asked = Question(sparse, torch.tensor(ambiguous), any(ambiguous), changed)
    return decode_chosen(sam.mask_decoder, memory, asked)


def stock(sam, features, points=None, boxes=None, masks=None):
    """All four masks of each prompt."""
    encoder = sam.prompt_encoder
    sparse, dense = encoder(points, boxes, masks)
    return sam.mask_decoder.predict_masks(features, encoder.get_dense_pe(), sparse, dense)


def assert_chosen(found, expected, picks):
    """Logits to 1e-5 of the largest, every pixel the same whose logit is not 0 to rounding."""
    masks, iou = expected
    rows = torch.arange(len(picks))
    wanted = masks[rows, picks]
    surely = wanted.abs() > ROUNDING * wanted.abs().max()
    assert surely.float().mean() > 0.9999
    assert (found.logits - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert torch.equal((found.logits > 0)[surely], (wanted > 0)[surely])
    assert 0 < (wanted > 0).float().mean() < 1
    torch.testing.assert_close(found.predicted_iou, iou[rows, picks], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_boxes(sam, features):
    corners = places(sam, 2, 2)
    found = ours(sam, features, PromptTokens(corners, torch.tensor([[2, 3]] * 2)), (False, False))
    assert_chosen(found, stock(sam, features, boxes=corners.reshape(2, 4)), [0, 0])


@torch.inference_mode()
def test_a_lone_click_gets_the_best_of_three(sam, features):
    xy = places(sam, 2, 1)
    tokens = PromptTokens(
        torch.cat([xy, torch.zeros_like(xy)], 1), torch.tensor([[POSITIVE, NOT_A_POINT]] * 2)
    )
    expected = stock(sam, features, points=(xy, torch.ones(2, 1)))
    best = 1 + expected[1][:, 1:].argmax(1)
    assert_chosen(ours(sam, features, tokens, (True, True)), expected, best)
    best[1] = 0
    assert_chosen(ours(sam, features, tokens, (True, False)), expected, best)


@torch.inference_mode()
def test_clicks_on_an_earlier_mask(sam, features):
    xy, grid = places(sam, 2, 2), features.shape[-1]
    kinds = torch.tensor([[POSITIVE, NEGATIVE]] * 2)
    masks = torch.randn(2, 1, 4 * grid, 4 * grid, generator=torch.Generator().manual_seed(3))
    tokens = PromptTokens(
        torch.cat([xy, torch.zeros(2, 1, 2)], 1),
        torch.cat([kinds, torch.full((2, 1), NOT_A_POINT)], 1),
    )
    found = ours(sam, features, tokens, (False, False), masks)
    assert_chosen(found, stock(sam, features, points=(xy, kinds), masks=masks), [0, 0])


@torch.inference_mode()
@pytest.mark.parametrize("at_once", [100_000, 10**9])
def test_parts_of_any_size_give_the_same(sam, features, monkeypatch, at_once):
    tokens = PromptTokens(places(sam, 1, 2), torch.tensor([[2, 3]]))
    before = ours(sam, features, tokens, (False,)).logits
    monkeypatch.setattr(two_way, "NUMBERS_AT_ONCE", at_once)
    after = ours(sam, features, tokens, (False,)).logits
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5 * before.abs().max().item())


@torch.inference_mode()
def test_threads_side_by_side_give_the_very_same(sam, features, monkeypatch, own_threads):
    tokens = PromptTokens(places(sam, 1, 2), torch.tensor([[2, 3]]))
    monkeypatch.setattr(two_way, "NUMBERS_AT_ONCE", 20_000)
    answers = {}
    for threads in (1, 3):
        torch.set_num_threads(threads)
        with one_thread_each(torch.device("cpu")) as lanes:
            answers[lanes] = ours(sam, features, tokens, (False,))
    assert torch.equal(answers[3].logits, answers[1].logits)
    assert torch.equal(answers[3].predicted_iou, answers[1].predicted_iou)


@torch.inference_mode()
def test_leaves_most_of_the_work_out(sam, features):
    corners = places(sam, 1, 2)
    memory = SliceMemories(sam).of(features)
    sparse, _ = sam.prompt_encoder(None, corners.reshape(1, 4), None)
    with FlopCounterMode(display=False) as all_of_it:
        stock(sam, features, boxes=corners.reshape(1, 4))
    with FlopCounterMode(display=False) as reduced:
        decode_chosen(sam.mask_decoder, memory, Question(sparse, torch.tensor([False]), False))
    share = {256: 0.43, 128: 0.62}[sam.mask_decoder.transformer_dim]
    assert reduced.get_total_flops() < share * all_of_it.get_total_flops()


def test_the_sizes_are_the_real_ones():
    for name, size in SIZES.items():
        real = encoder_shape(name)
        for number in ("prompt_dim", "decoder_mlp_dim", "grid", "image_size_px"):
            assert getattr(size, number) == getattr(real, number)
