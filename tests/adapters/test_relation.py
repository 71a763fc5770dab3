import copy

import torch
from cobot.adapters.relation import CrossBlockRelation, LinkedColumn, mode_3_product
from hypothesis import given, settings
from hypothesis import strategies as st


def relation(kind: str, width: int = 4, slots: int = 6, seed: int = 0) -> CrossBlockRelation:
    return CrossBlockRelation(width, slots, kind, torch.Generator().manual_seed(seed))


def block_circulant(tensor: torch.Tensor) -> torch.Tensor:
    """bcirc of eq. 7, written out: block (i, j) is frontal slice i - j (mod n3)."""
    depth = tensor.shape[-1]
    return torch.cat(
        [
            torch.cat([tensor[:, :, (row - col) % depth] for col in range(depth)], dim=1)
            for row in range(depth)
        ],
        dim=0,
    )


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, 5)] * 4),
    seed=st.integers(0, 2**31),
)
def test_t_product_through_the_dft_is_the_block_circulant_one(
    sizes: tuple[int, int, int, int], seed: int
):
    rows, inner, cols, depth = sizes
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(rows, inner, depth, generator=generator, dtype=torch.float64)
    right = torch.randn(inner, cols, depth, generator=generator, dtype=torch.float64)
    # eq. 6: fold(bcirc(A) unfold(B))
    unfolded = torch.cat([right[:, :, k] for k in range(depth)], dim=0)
    blocks = (block_circulant(left) @ unfolded).split(rows, dim=0)
    expected = torch.stack(blocks, dim=-1)
    # eqs. 10 to 12: slice-wise products between x3 S and x3 S^-1, S = DFT
    frequencies = torch.outer(torch.arange(depth), torch.arange(depth)).double()
    dft = torch.exp(-2j * torch.pi * frequencies / depth)
    left_bar = mode_3_product(left.to(dft.dtype), dft)
    right_bar = mode_3_product(right.to(dft.dtype), dft)
    product_bar = torch.einsum("abk,bck->ack", left_bar, right_bar)
    product = mode_3_product(product_bar, torch.linalg.inv(dft))
    torch.testing.assert_close(product.real, expected)
    torch.testing.assert_close(product.imag, torch.zeros_like(expected), atol=1e-9, rtol=0)


def test_starts_from_ones_and_the_identity():
    start = relation("learned")
    assert torch.equal(start.linked, torch.ones(4, 6))
    assert torch.equal(start.matrix, torch.eye(6))
    assert all(torch.equal(start(slot), torch.ones(4)) for slot in range(6))


def test_column_is_the_diagonal_of_the_mixed_tensor():
    shared = relation("fixed", seed=4)
    with torch.no_grad():
        shared.linked.normal_(generator=torch.Generator().manual_seed(1))
    tensor = torch.stack([torch.diag(shared.linked[:, t]) for t in range(6)], dim=-1)
    mixed = mode_3_product(tensor, shared.matrix)
    for slot in range(6):
        torch.testing.assert_close(torch.diag(shared(slot)), mixed[:, :, slot])


def test_gradient_of_one_slot_reaches_all_blocks_only_through_s():
    mixed, apart = relation("fixed"), relation("none")
    for shared in (mixed, apart):
        shared(2).sum().backward()
    assert (mixed.linked.grad != 0).all()
    assert (apart.linked.grad.sum(dim=0) != 0).tolist() == [False, False, True] + [False] * 3


def test_fixed_matrix_is_seeded_invertible_saved_and_not_trained():
    fixed = relation("fixed", seed=3)
    assert torch.equal(fixed.matrix, relation("fixed", seed=3).matrix)
    assert not torch.equal(fixed.matrix, relation("fixed", seed=4).matrix)
    torch.testing.assert_close(fixed.matrix @ fixed.matrix.T, torch.eye(6), atol=1e-6, rtol=0)
    assert dict(fixed.named_parameters()).keys() == {"linked"}
    assert fixed.state_dict().keys() == {"linked", "matrix"}


def test_column_follows_a_copy_of_its_relation():
    shared = relation("learned")
    pair = copy.deepcopy((shared, LinkedColumn(shared, 1)))
    assert pair[1].relation is pair[0]
    assert pair[0] is not shared
