import copy
from dataclasses import replace

import pytest
import torch
from cobot.adapters.checkpoint import AdapterFile, collect_adapter
from cobot.adapters.loading import AdaptableModel, apply_adapter, load_adapter, save_adapter
from cobot.errors import AdapterError
from torch import nn

NAMES = ["lora", "lora+cobot", "adaptformer", "adaptformer+cobot"]


@pytest.fixture
def trained_decoder() -> nn.Module:
    torch.manual_seed(11)
    return nn.Linear(8, 2)


@pytest.fixture
def model(encoder, card) -> AdaptableModel:
    torch.manual_seed(12)
    return AdaptableModel(copy.deepcopy(encoder), nn.Linear(8, 2), card.encoder, card.base_sha256)


def run(model: AdaptableModel, image: torch.Tensor) -> torch.Tensor:
    return model.mask_decoder(model.encoder(image).movedim(1, -1))


@pytest.mark.parametrize("name", NAMES)
def test_save_load_gives_the_same_output_and_unload_the_base(
    name, encoder, model, trained_decoder, image, attach, card, tmp_path
):
    before = run(model, image)
    handle = attach(encoder, name)
    expected = trained_decoder(encoder(image).movedim(1, -1))
    save_adapter(tmp_path / "a", handle, card, trained_decoder)
    loaded = load_adapter(tmp_path / "a", model)
    assert torch.equal(run(model, image), expected)
    assert loaded.card == card
    with loaded.disabled():
        assert torch.equal(run(model, image), before)
    assert torch.equal(run(model, image), expected)
    loaded.unload()
    assert torch.equal(run(model, image), before)


def test_without_a_trained_decoder_the_models_own_stays(encoder, model, image, attach, card):
    file = collect_adapter(attach(encoder, "lora", train_decoder=False), card)
    weight = model.mask_decoder.weight.clone()
    loaded = apply_adapter(file, model)
    assert torch.equal(model.mask_decoder.weight, weight)
    assert loaded.decoder_before == {}
    loaded.unload()


@pytest.fixture
def file(encoder, attach, card, trained_decoder) -> AdapterFile:
    handle = attach(encoder, "lora+cobot")
    collected = collect_adapter(handle, card, trained_decoder)
    handle.detach()
    return collected


def refused(file: AdapterFile, model: AdaptableModel, image: torch.Tensor, message: str) -> None:
    """The refusal is worded so, and the model is what it was."""
    before, modules = run(model, image), list(model.encoder.modules())
    with pytest.raises(AdapterError, match=message):
        apply_adapter(file, model)
    assert torch.equal(run(model, image), before)
    assert all(a is b for a, b in zip(model.encoder.modules(), modules, strict=True))


def test_wrong_base_is_refused_with_both_sides(file, model, image):
    other = replace(model, base_sha256="cd" * 32)
    refused(file, other, image, f"for small with base weights SHA-256 {'ab' * 32}.* {'cd' * 32}")
    other = replace(model, name="vit_b")
    refused(file, other, image, "made for small .* but the model is vit_b")


def test_missing_and_extra_tensors_are_refused(file, model, image):
    tensors = dict(file.tensors)
    tensors["blocks.0.attn.qkv.k.lora_a"] = tensors.pop("blocks.0.attn.qkv.q.lora_a")
    refused(
        replace(file, tensors=tensors),
        model,
        image,
        r"1 missing \['blocks.0.attn.qkv.q.lora_a'\], 1 extra \['blocks.0.attn.qkv.k.lora_a'\]",
    )


def test_wrong_shapes_are_refused(file, model, image):
    tensors = {**file.tensors, "relation.matrix": torch.eye(3)}
    refused(
        replace(file, tensors=tensors),
        model,
        image,
        r"relation.matrix has shape \(3, 3\), the model needs \(8, 8\)",
    )
    tensors = {**file.tensors, "mask_decoder.bias": torch.zeros(5)}
    refused(replace(file, tensors=tensors), model, image, r"mask decoder's tensor bias has shape")
