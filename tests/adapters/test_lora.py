import pytest
import torch
from cobot.adapters.config import AdapterConfig
from cobot.adapters.lora import LoraQkv, build_lora, init_low_rank
from cobot.adapters.slot import SlotProjection, build_slot
from cobot.errors import AdapterError
from torch import nn


def plain(width: int = 2, dim: int = 6) -> LoraQkv:
    torch.manual_seed(0)
    slots = SlotProjection(width, None, None), SlotProjection(width, None, None)
    return build_lora(nn.Linear(dim, 3 * dim), slots, scale=1.0)


def fill(layer: LoraQkv) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.adapter_parameters().values():
            parameter.normal_(generator=generator)


def test_adds_b_a_x_to_q_and_v_and_leaves_k():
    layer = plain()
    fill(layer)
    tokens = torch.randn(2, 3, 6)
    before, after = layer.base(tokens), layer(tokens)
    query = tokens @ layer.q.lora_a.T @ layer.q.lora_b.T
    value = tokens @ layer.v.lora_a.T @ layer.v.lora_b.T
    torch.testing.assert_close(after[..., :6], before[..., :6] + query)
    assert torch.equal(after[..., 6:12], before[..., 6:12])
    torch.testing.assert_close(after[..., 12:], before[..., 12:] + value)


def test_known_by_hand():
    layer = build_lora(
        nn.Linear(1, 3), (SlotProjection(1, None, None), SlotProjection(1, None, None)), scale=0.5
    )
    with torch.no_grad():
        layer.base.weight.copy_(torch.tensor([[1.0], [2.0], [3.0]]))
        layer.base.bias.copy_(torch.tensor([10.0, 20.0, 30.0]))
        layer.q.lora_a.fill_(2)
        layer.q.lora_b.fill_(3)
        layer.v.lora_a.fill_(4)
        layer.v.lora_b.fill_(5)
    # q: 1 + 0.5·3·2 = 4, k: 2, v: 3 + 0.5·5·4 = 13
    assert layer(torch.ones(1, 1)).tolist() == [[14.0, 22.0, 43.0]]
    assert layer.folded().weight.flatten().tolist() == [4.0, 2.0, 13.0]


def test_token_of_zeros_gives_the_bias_that_pads_windows():
    layer = plain()
    fill(layer)
    assert layer.bias is layer.base.bias
    assert torch.equal(layer(torch.zeros(1, 6))[0], layer.bias)


def test_projection_of_another_output_width_is_adapted():
    layer = build_lora(
        nn.Linear(4, 3 * 5), (SlotProjection(2, None, None), SlotProjection(2, None, None)), 1.0
    )
    fill(layer)
    tokens = torch.randn(3, 4)
    torch.testing.assert_close(layer.folded()(tokens), layer(tokens))


def test_folding_leaves_a_base_in_double_precision_as_it_is():
    layer = plain().double()
    fill(layer)
    before = layer.base.weight.clone()
    once, twice = layer.folded().weight, layer.folded().weight
    assert torch.equal(layer.base.weight, before)
    assert torch.equal(once, twice)
    assert not torch.equal(once, before)


def test_published_start_changes_q_and_v_and_the_default_does_not():
    tokens = torch.randn(3, 6)
    for init, same in (("zero", True), ("paper", False)):
        layer = plain()
        for branch in (layer.q, layer.v):
            init_low_rank(branch, init, torch.Generator().manual_seed(0))
        assert torch.equal(layer(tokens), layer.base(tokens)) == same
        assert layer.q.lora_a.abs().min() > 0


def test_names_its_own_parameters():
    config = AdapterConfig.named("lora", head="hyper-complex", width=4)
    slots = [build_slot(config, None, torch.Generator().manual_seed(0)) for _ in range(2)]
    layer = build_lora(nn.Linear(6, 18), (slots[0], slots[1]), 1.0)
    heads = {"q.projection.head.components", "v.projection.head.components"}
    assert layer.orchestration_parameters().keys() == heads
    assert layer.adapter_parameters().keys() == heads | {
        "q.lora_a",
        "q.lora_b",
        "v.lora_a",
        "v.lora_b",
    }


@pytest.mark.parametrize("base", [nn.Linear(4, 7), nn.Conv2d(4, 12, 1)])
def test_only_a_fused_linear_layer_is_adapted(base: nn.Module):
    with pytest.raises(AdapterError, match="fused qkv projection, a linear layer with 3 x width"):
        build_lora(base, (SlotProjection(1, None, None), SlotProjection(1, None, None)), 1.0)
