"""Muon in fp32 against torch's own, which rounds to bf16."""

import pytest
import torch
from cobot.training.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(6, 6), (4, 10), (10, 4)])
def test_an_update_has_singular_values_near_one_and_the_gradients_directions(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalised(matrix)
    values = torch.linalg.svdvals(found)
    assert ((values > 0.6) & (values < 1.3)).all()
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ found @ right.T
    assert torch.allclose(inner, torch.diag(torch.diag(inner)), atol=1e-4)


def test_three_steps_are_torchs_own_to_its_rounding():
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(8, 12)) for _ in range(2))
    first = Muon([ours], lr=0.1, weight_decay=0.05)
    second = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        gradient = torch.randn(8, 12)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        first.step()
        second.step()
    moved = (theirs - 1).norm()
    assert (ours - theirs).norm() / moved < 0.02
