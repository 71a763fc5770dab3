import copy

import numpy as np
import pytest
import torch
from cobot.errors import ConfigError
from cobot.sam.encoder import encode_image
from cobot.sam.frame import SamFrame
from cobot.sam.grey_patches import GreyPictures
from cobot.sam.prepared import prepare_encoder
from torch import nn

METHODS = ["lora", "lora+cobot", "adaptformer", "adaptformer+cobot"]


def slices(count, side=112):
    """Grey pictures of `count` shapes, and the three channels that stock SAM would get."""
    generator = np.random.default_rng(0)
    grey, stock, content = [], [], []
    for index in range(count):
        shape = (20, 20 - 3 * (index % 3))
        unit = generator.random(shape, dtype=np.float32)
        frame = SamFrame.fit(shape, (1.0, 1.0), side)
        grey.append(frame.grey(unit))
        stock.append(frame.image(unit))
        content.append(frame.content_px)
    return GreyPictures(torch.cat(grey), content), torch.cat(stock)


def error(ours, stock):
    return ((ours - stock).norm() / stock.norm()).item()


@pytest.mark.parametrize("count", [1, 2, 8])
def test_equals_the_stock_encoder(uneven_encoder, count):
    pictures, pixels = slices(count)
    with torch.inference_mode():
        stock = uneven_encoder(pixels)
    assert error(prepare_encoder(uneven_encoder, 112, torch.float32).embed(pictures), stock) <= 1e-5
    narrow = prepare_encoder(uneven_encoder, 112, torch.bfloat16).embed(pictures)
    assert narrow.dtype == torch.float32
    assert 1e-4 < error(narrow, stock) < 0.02


@pytest.mark.parametrize("side", [8, 56, 64, 160])
def test_equals_the_plain_function_at_other_sides(uneven_encoder, side):
    pictures, pixels = slices(2, side)
    with torch.inference_mode():
        expected = encode_image(uneven_encoder, pixels)
    prepared = prepare_encoder(uneven_encoder, side, torch.float32)
    assert error(prepared.embed(pictures), expected) <= 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS)
def test_adapters_are_seen_whenever_they_change(uneven_encoder, adapt, method, dtype):
    limit = 1e-5 if dtype == torch.float32 else 0.03
    pictures, pixels = slices(2)
    prepared = prepare_encoder(uneven_encoder, 112, dtype)
    assert prepared.current() is prepared
    plain = prepared.embed(pictures)
    handle = adapt(uneven_encoder, method)

    def embed_now():
        nonlocal prepared
        before, prepared = prepared, prepared.current()
        assert prepared is not before
        with torch.inference_mode():
            assert error(prepared.embed(pictures), uneven_encoder(pixels)) <= limit
        assert prepared.current() is prepared
        return prepared.embed(pictures)

    adapted = embed_now()
    assert error(adapted, plain) > 0.05
    handle.fold()
    assert error(embed_now(), adapted) <= limit
    handle.unfold()
    with torch.no_grad():
        next(iter(handle.parameters().values())).mul_(3)
    assert error(embed_now(), adapted) > 0.01
    handle.detach()
    torch.testing.assert_close(embed_now(), plain, rtol=0, atol=0)


def test_only_what_changed_is_cast_anew(uneven_encoder, adapt):
    prepared = prepare_encoder(uneven_encoder, 112, torch.bfloat16)
    adapt(uneven_encoder, "lora").fold()
    fresh = prepared.current()
    before, after = prepared.working.blocks[0], fresh.working.blocks[0]
    assert after.mlp.lin1.weight is before.mlp.lin1.weight
    assert after.attn.qkv.weight is not before.attn.qkv.weight


def test_the_source_stays_as_it_is(uneven_encoder, adapt):
    adapt(uneven_encoder, "adaptformer+cobot")
    before = copy.deepcopy(uneven_encoder.state_dict())
    prepare_encoder(uneven_encoder, 112, torch.bfloat16).embed(slices(1)[0])
    for name, tensor in uneven_encoder.state_dict().items():
        assert torch.equal(tensor, before[name]), name
        assert tensor.dtype == before[name].dtype


def test_weights_loaded_in_place_are_noticed(uneven_encoder):
    pictures, pixels = slices(1)
    prepared = prepare_encoder(uneven_encoder, 112, torch.float32)
    with torch.no_grad():
        nn.init.normal_(uneven_encoder.blocks[0].attn.rel_pos_h)
        uneven_encoder.patch_embed.proj.weight.mul_(2)
        stock = uneven_encoder(pixels)
    assert error(prepared.embed(pictures), stock) > 0.01
    assert error(prepared.current().embed(pictures), stock) <= 1e-5


def test_refuses_parts_of_patches(uneven_encoder):
    with pytest.raises(ConfigError, match="60 px, which is not a multiple.*patch of 8 px"):
        prepare_encoder(uneven_encoder, 60, torch.float32)
