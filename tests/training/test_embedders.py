"""However little of the encoder a step computes: stock segment_anything's gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F
from cobot.adapters.attach import attach_adapters
from cobot.adapters.blocks import in_blocks
from cobot.adapters.config import AdapterConfig
from cobot.sam.frozen_base import cast_frozen
from cobot.sam.prefix import PrefixCache, encode_prefix, first_trained_block
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.training.corrections import find_corrections
from cobot.training.embedders import LateBlocks, WholeEncoder
from cobot.training.items import ItemMaker
from cobot.training.recipe import Recipe
from cobot.training.slice_cache import SliceCache
from cobot.training.slice_dataset import SliceDataset
from cobot.training.task import TrainingTask
from torch import nn

TASK = TrainingTask("discs", {1: "ball", 2: "rod"}, cut="k").shown_in("-200,300")
METHODS = ("lora", "lora+cobot", "adaptformer", "adaptformer+cobot")
ROOM = 2**30


@pytest.fixture
def maker(data, loaded, tmp_path):
    dataset = SliceDataset(
        SliceCache(tmp_path / "c", TASK), find_corrections(data), TASK.window_groups()
    )
    recipe = Recipe.named("default", {"rounds": 1})
    return ItemMaker(dataset, SliceSegmenter(loaded, "cpu", SegmenterOptions()), recipe, 0)


def adapted(loaded, method, blocks):
    """An encoder whose positions, biases and adapters matter, without dropout, and its adapters."""
    encoder = copy.deepcopy(loaded.sam.image_encoder)
    torch.manual_seed(1)
    for name, parameter in encoder.named_parameters():
        if "pos" in name or name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    config = in_blocks(AdapterConfig.named(method), blocks, len(encoder.blocks))
    handle = attach_adapters(encoder, config, torch.Generator().manual_seed(0))
    for parameter in handle.parameters().values():
        nn.init.normal_(parameter, std=0.05)
    return encoder.eval(), list(handle.parameters().values())


def gradients(embed, trained, narrow):
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        embedding = embed()
    direction = torch.randn(embedding.shape, generator=torch.Generator().manual_seed(3))
    found = torch.autograd.grad((embedding.float() * direction).sum(), trained)
    return torch.cat([one.flatten() for one in found])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("blocks", ["all", "last-half", "last-quarter"])
@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_those_of_stock_sam_with_the_same_adapter(
    maker, loaded, method, blocks, precision
):
    narrow = precision == "bf16"
    item = maker.make(0, 0)
    encoder, trained = adapted(loaded, method, blocks)
    pixels = item.view.frame.image(item.view.unit)
    stock = gradients(lambda: encoder(pixels), trained, narrow)
    if narrow:
        cast_frozen(encoder)
    first = first_trained_block(encoder)
    assert first == {"all": 0, "last-half": 4, "last-quarter": 6}[blocks]
    embedder = LateBlocks(encoder, first, PrefixCache(ROOM)) if first else WholeEncoder(encoder)
    for _ in ("computed", "kept"):
        ours = gradients(lambda: embedder.of([item]), trained, narrow)
        assert F.cosine_similarity(ours, stock, dim=0) >= 0.999
        assert ours.norm().item() == pytest.approx(stock.norm().item(), rel=0.02)


@pytest.mark.parametrize("narrow", [False, True])
def test_it_makes_no_difference_what_was_kept(maker, loaded, narrow):
    items = [maker.make(sample, 0) for sample in (0, 3)]
    again = [maker.make(sample, 1) for sample in (0, 3)]
    assert [one.view.key for one in items] == [one.view.key for one in again], "another epoch"
    encoder, trained = adapted(loaded, "lora+cobot", "last-half")
    if narrow:
        cast_frozen(encoder)
    roomy, cramped = (LateBlocks(encoder, 4, PrefixCache(limit)) for limit in (ROOM, 0))
    # One of the two is already there when both are asked for.
    gradients(lambda: roomy.of(again[1:]), trained, narrow)
    kept, computed = (
        gradients(lambda one=one: one.of(items), trained, narrow) for one in (roomy, cramped)
    )
    assert torch.equal(kept, computed)
    assert (roomy.kept.bytes_held, cramped.kept.bytes_held) == (2 * 32 * 32 * 192 * 2, 0)


def test_kept_tokens_spare_the_frozen_blocks(maker, loaded, monkeypatch):
    encoder, _ = adapted(loaded, "lora", "last-half")
    late = LateBlocks(encoder, 4, PrefixCache(ROOM))
    item = maker.make(0, 0)
    with torch.no_grad():
        first = late.of([item])
        monkeypatch.setattr(encoder.blocks[0], "norm1", None)
        assert torch.equal(late.of([item]), first)
        with pytest.raises(TypeError):
            encode_prefix(encoder, item.view.frame.image(item.view.unit), 4)
