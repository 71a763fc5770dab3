import pytest
import torch
import torch.nn.functional as F
from cobot.errors import ConfigError
from cobot.sam.encoder import encode_image
from cobot.sam.encoder_plan import EncoderPlan
from cobot.sam.prefix import PrefixCache, encode_prefix, encode_suffix, first_trained_block

PIXELS = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", ["lora+cobot", "adaptformer"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_both_parts_have_the_gradients_of_the_whole(uneven_encoder, adapt, method, checkpointing):
    handle = adapt(uneven_encoder, method, blocks=(1, 2))
    assert first_trained_block(uneven_encoder) == 1
    trained = list(handle.parameters().values())
    direction = torch.randn(2, 32, 14, 14, generator=torch.Generator().manual_seed(3))
    plan = EncoderPlan("chunked", "concatenated", checkpointing)
    tokens = encode_prefix(uneven_encoder, PIXELS, 1)
    assert not tokens.requires_grad
    ours = encode_suffix(uneven_encoder, tokens, 1, plan)
    stock = uneven_encoder(PIXELS)
    torch.testing.assert_close(ours, stock, rtol=0, atol=1e-4)
    pairs = zip(
        torch.autograd.grad((ours * direction).sum(), trained),
        torch.autograd.grad((stock * direction).sum(), trained),
        strict=True,
    )
    for mine, theirs in pairs:
        assert F.cosine_similarity(mine.flatten(), theirs.flatten(), dim=0) >= 0.999


def test_the_first_trained_block(uneven_encoder, adapt):
    assert first_trained_block(uneven_encoder) == 0
    handle = adapt(uneven_encoder, "lora", blocks=(2,))
    assert first_trained_block(uneven_encoder) == 2
    handle.detach()
    uneven_encoder.requires_grad_(False)
    assert first_trained_block(uneven_encoder) == 3
    uneven_encoder.patch_embed.proj.bias.requires_grad_(True)
    assert first_trained_block(uneven_encoder) == 0


@pytest.mark.parametrize("first_block", [0, 1, 3])
def test_a_frozen_encoder_may_be_cut_anywhere(uneven_encoder, first_block):
    uneven_encoder.requires_grad_(False)
    tokens = encode_prefix(uneven_encoder, PIXELS, first_block)
    whole = encode_image(uneven_encoder, PIXELS)
    torch.testing.assert_close(encode_suffix(uneven_encoder, tokens, first_block), whole)


@pytest.mark.parametrize("first_block", [-1, 2, 4])
def test_refuses_a_prefix_over_trained_blocks(uneven_encoder, adapt, first_block):
    adapt(uneven_encoder, "lora", blocks=(1,))
    with pytest.raises(ConfigError, match=f"before block {first_block}.*from 0 to 1"):
        encode_prefix(uneven_encoder, PIXELS, first_block)


def test_the_cache_computes_once_and_lets_the_oldest_go():
    computed = []

    def tokens(key):
        def compute():
            computed.append(key)
            return torch.full((1, 2, 2, 4), float(len(key)))

        return cache.tokens(key, compute)

    cache = PrefixCache(limit_bytes=2 * 32)
    for key in ("a", "bb", "a", "ccc", "a", "bb"):
        given = tokens(key)
        assert given.dtype == torch.bfloat16
        assert (given == len(key)).all()
        assert cache.bytes_held <= 64
    assert computed == ["a", "bb", "ccc", "bb"]


def test_what_is_larger_than_the_cache_is_given_but_not_kept():
    cache = PrefixCache(limit_bytes=8)
    assert cache.tokens("a", lambda: torch.ones(1, 2, 2, 4)).sum() == 16
    assert cache.bytes_held == 0
