import pytest
import torch
from cobot.adapters.config import AdapterConfig
from cobot.adapters.relation import CrossBlockRelation, LinkedColumn
from cobot.adapters.slot import build_slot


def make(name: str, **changes: object):
    generator = torch.Generator().manual_seed(0)
    config = AdapterConfig.named(name, width=8, **changes)
    linked = None
    if config.coefficients:
        linked = LinkedColumn(CrossBlockRelation(8, 3, config.relation, generator), 1)
    return build_slot(config, linked, generator)


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 8 + 16),
        ({"head": "linear"}, 8 + 64),
        ({"head": "none"}, 8),
        ({"coefficients": False, "relation": "none"}, 16),
        ({"coefficients": False, "relation": "none", "head": "none"}, 0),
    ],
)
def test_own_parameters_follow_the_switches_and_exclude_the_shared_ones(changes, count):
    assert sum(p.numel() for p in make("lora+cobot", **changes).parameters()) == count


def test_two_sets_of_ones_add():
    assert torch.equal(make("lora+cobot").coefficients(), torch.full((8,), 2.0))


def test_matrix_is_what_forward_does():
    slot = make("lora+cobot", relation="fixed")
    hidden = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(slot(hidden), hidden @ slot.matrix().float().T)


def test_without_switches_it_is_the_identity():
    slot = make("lora")
    hidden = torch.randn(5, 8)
    assert torch.equal(slot(hidden), hidden)
    assert torch.equal(slot.matrix(), torch.eye(8, dtype=torch.float64))
