import pytest
import torch
from cobot.adapters.adaptformer import AdaptFormerMlp, BranchSettings, init_adaptformer
from cobot.adapters.slot import SlotProjection
from cobot.errors import AdapterError
from torch import nn
from torch.nn import functional


def make(dropout: float = 0.0, scale: float = 2.0) -> AdaptFormerMlp:
    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 6))
    layer = AdaptFormerMlp(mlp, SlotProjection(4, None, None), BranchSettings(scale, dropout))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.adapter_parameters().values():
            parameter.normal_(generator=generator)
    return layer


def test_is_the_mlp_plus_the_scaled_bottleneck():
    layer, tokens = make(), torch.randn(2, 5, 6)
    normed = functional.layer_norm(tokens, (6,), layer.norm.weight, layer.norm.bias, 1e-5)
    hidden = (normed @ layer.down.weight.T + layer.down.bias).clamp(min=0)
    branch = hidden @ layer.up.weight.T + layer.up.bias
    torch.testing.assert_close(layer(tokens), layer.base(tokens) + 2.0 * branch)


def test_start_is_the_mlp_bit_for_bit_even_with_dropout_in_training():
    layer, tokens = make(dropout=0.5).train(), torch.randn(2, 5, 6)
    init_adaptformer(layer, torch.Generator().manual_seed(0))
    assert torch.equal(layer(tokens), layer.base(tokens))
    assert layer.down.weight.abs().min() > 0
    assert layer.down.bias.abs().max() == layer.up.bias.abs().max() == 0


def test_dropout_acts_in_training_only():
    layer, tokens = make(dropout=0.5), torch.randn(2, 5, 6)
    torch.manual_seed(0)
    assert not torch.equal(layer.train()(tokens), layer(tokens))
    assert torch.equal(layer.eval()(tokens), layer(tokens))


def test_names_its_own_parameters():
    names = {"norm.weight", "norm.bias", "down.weight", "down.bias", "up.weight", "up.bias"}
    assert make().adapter_parameters().keys() == names
    assert make().orchestration_parameters() == {}


def test_an_mlp_without_linear_layers_is_refused():
    with pytest.raises(AdapterError, match="MLP with linear layers"):
        AdaptFormerMlp(nn.Identity(), SlotProjection(4, None, None), BranchSettings(1.0, 0.0))
