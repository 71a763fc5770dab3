import math

import pytest
import torch
from cobot.sam.folded_attention import folded_answer, folded_query, glance, put_together
from segment_anything.modeling.transformer import Attention

TOKENS = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(0))
IMAGE = torch.randn(2, 30, 24, generator=torch.Generator().manual_seed(1))
PLACED = IMAGE + torch.randn(1, 30, 24, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def attention():
    torch.manual_seed(0)
    layer = Attention(24, 4, downsample_rate=2).requires_grad_(False)
    for name, parameter in layer.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return layer


@pytest.mark.parametrize("part", [30, 7, 1])
def test_tokens_look_at_the_image(attention, part):
    query = folded_query(attention, TOKENS)
    parts = zip(PLACED.split(part, 1), IMAGE.split(part, 1), strict=True)
    found = put_together(attention, [glance(query, placed, image) for placed, image in parts])
    torch.testing.assert_close(found, attention(q=TOKENS, k=PLACED, v=IMAGE))


def test_scores_of_any_size_can_be_put_together(attention):
    """Exponentials of 1000 are infinite: each part's scores are taken from its highest on."""
    query, image = torch.zeros(1, 20, 24), torch.zeros(1, 3, 24)
    query[..., 0], image[0, :, 0] = 1, torch.tensor([1000.0, -1000.0, 998.0])
    found = put_together(attention, [glance(query, one, one) for one in image.split(1, 1)])
    e = math.exp(-2)
    expected = (image[:, :1] + e * image[:, 2:]) / (1 + e)
    values = attention.v_proj(expected).expand(1, 5, -1)
    torch.testing.assert_close(found, attention.out_proj(values))


def test_the_image_looks_at_tokens(attention):
    answer = folded_answer(attention, TOKENS, TOKENS.flip(1))
    found = answer.shares(PLACED).mT @ answer.added
    torch.testing.assert_close(found, attention(q=PLACED, k=TOKENS, v=TOKENS.flip(1)))


def test_shares_of_a_head_sum_to_one(attention):
    shares = folded_answer(attention, TOKENS, TOKENS).shares(PLACED)
    torch.testing.assert_close(shares.unflatten(1, (4, 5)).sum(2), torch.ones(2, 4, 30))
