import copy
import os

import pytest
import torch
from cobot.adapters.checkpoint import collect_adapter
from cobot.adapters.export import export_merged, merge_state
from cobot.errors import AdapterError
from torch import nn


@pytest.fixture
def sam(encoder) -> nn.Module:
    torch.manual_seed(4)
    model = nn.Module()
    model.add_module("image_encoder", encoder)
    model.add_module("mask_decoder", nn.Linear(8, 2))
    return model


@pytest.mark.parametrize("name", ["lora", "lora+cobot"])
def test_plain_model_loads_it_strictly_and_gives_the_same_output(
    name, sam, image, attach, card, tmp_path
):
    plain, base = copy.deepcopy(sam), copy.deepcopy(sam.state_dict())
    handle = attach(sam.image_encoder, name)
    with torch.no_grad():
        sam.mask_decoder.weight.add_(1)
    export_merged(base, collect_adapter(handle, card, sam.mask_decoder), tmp_path / "merged.pth")
    state = torch.load(tmp_path / "merged.pth", weights_only=True)
    assert list(state) == list(base)
    plain.load_state_dict(state, strict=True)
    expected = sam.mask_decoder(sam.image_encoder(image).movedim(1, -1))
    output = plain.mask_decoder(plain.image_encoder(image).movedim(1, -1))
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)


def test_only_q_and_v_of_the_chosen_blocks_change(sam, attach, card):
    base = copy.deepcopy(sam.state_dict())
    handle = attach(sam.image_encoder, "lora+cobot", train_decoder=False, blocks=(1,))
    merged = merge_state(base, collect_adapter(handle, card))
    changed = [name for name in base if not torch.equal(base[name], merged[name])]
    assert changed == ["image_encoder.blocks.1.attn.qkv.weight"]
    assert torch.equal(merged[changed[0]][16:32], base[changed[0]][16:32])


def test_decoder_alone_is_exported_too(sam, attach, card):
    base = copy.deepcopy(sam.state_dict())
    handle = attach(sam.image_encoder, "lightweight")
    with torch.no_grad():
        sam.mask_decoder.bias.add_(1)
    merged = merge_state(base, collect_adapter(handle, card, sam.mask_decoder))
    changed = [name for name in base if not torch.equal(base[name], merged[name])]
    assert changed == ["mask_decoder.bias"]


@pytest.mark.parametrize("name", ["adaptformer", "adaptformer+cobot"])
def test_adaptformer_is_refused_with_the_reason(name, sam, attach, card):
    base = sam.state_dict()
    file = collect_adapter(attach(sam.image_encoder, name), card, sam.mask_decoder)
    with pytest.raises(AdapterError, match="AdaptFormer has a ReLU between down and up"):
        merge_state(base, file)


def test_a_base_that_does_not_fit_is_refused(sam, attach, card):
    base = dict(sam.state_dict())
    file = collect_adapter(attach(sam.image_encoder, "lora"), card, sam.mask_decoder)
    with pytest.raises(AdapterError, match="no image_encoder.blocks.0.attn.qkv.weight"):
        merge_state({}, file)
    narrow = base | {"image_encoder.blocks.3.attn.qkv.weight": torch.zeros(24, 8)}
    with pytest.raises(
        AdapterError, match=r"blocks.3.* has shape \(4, 16\), the model needs \(4, 8"
    ):
        merge_state(narrow, file)
    shallow = {name: value for name, value in base.items() if ".blocks.3." not in name}
    with pytest.raises(AdapterError, match=r"extra \['blocks.3"):
        merge_state(shallow, file)
    small = base | {"mask_decoder.bias": torch.zeros(1)}
    with pytest.raises(AdapterError, match="mask decoder's tensor mask_decoder.bias has shape"):
        merge_state(small, file)


def test_broken_export_leaves_nothing(sam, attach, card, tmp_path, monkeypatch):
    base = copy.deepcopy(sam.state_dict())
    file = collect_adapter(attach(sam.image_encoder, "lora"), card, sam.mask_decoder)

    def refuse(source, target):
        raise OSError("killed")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="killed"):
        export_merged(base, file, tmp_path / "merged.pth")
    assert list(tmp_path.iterdir()) == []
