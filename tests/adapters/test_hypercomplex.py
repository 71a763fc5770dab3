import pytest
import torch
from cobot.adapters.hypercomplex import HyperComplexLinear, hamilton_matrix, init_hypercomplex
from cobot.errors import ConfigError

ONE, J1, J2, J3 = torch.eye(4)


def multiply(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return hamilton_matrix(left[:, None, None]) @ right


@pytest.mark.parametrize(
    ("left", "right", "product"),
    [
        (ONE, J2, J2),
        (J3, ONE, J3),
        (J1, J1, -ONE),
        (J2, J2, -ONE),
        (J3, J3, -ONE),
        (J1, J2, J3),
        (J2, J1, -J3),
        (J2, J3, J1),
        (J3, J2, -J1),
        (J3, J1, J2),
        (J1, J3, -J2),
    ],
)
def test_hamilton_table(left: torch.Tensor, right: torch.Tensor, product: torch.Tensor):
    torch.testing.assert_close(multiply(left, right), product, rtol=0, atol=0)


def test_hamilton_product_multiplies_norms_and_associates():
    a, b, c = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(multiply(a, b).norm(), a.norm() * b.norm())
    torch.testing.assert_close(multiply(multiply(a, b), c), multiply(a, multiply(b, c)))


def test_matrix_of_quaternions_sums_hamilton_products():
    components = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(2))
    vector = torch.randn(4, 3, generator=torch.Generator().manual_seed(3))
    expected = sum(
        torch.stack([multiply(components[:, row, col], vector[:, col]) for row in range(2)], dim=1)
        for col in range(3)
    )
    torch.testing.assert_close(
        hamilton_matrix(components) @ vector.reshape(-1), expected.reshape(-1)
    )


@pytest.mark.parametrize("width", [4, 8, 16, 32])
def test_head_starts_orthogonal_with_a_quarter_of_the_weights(width: int):
    head = HyperComplexLinear(width)
    init_hypercomplex(head, "zero", torch.Generator().manual_seed(width))
    torch.testing.assert_close(head.weight @ head.weight.T, torch.eye(width), atol=1e-6, rtol=0)
    assert not torch.equal(head.weight, torch.eye(width))
    assert sum(p.numel() for p in head.parameters()) == 4 * (width // 4) ** 2


def test_published_start_has_no_real_part():
    head = HyperComplexLinear(16)
    init_hypercomplex(head, "paper", torch.Generator().manual_seed(0))
    assert head.components[0].abs().max() == 0
    assert 0 <= head.components[1:].min() < head.components[1:].max() < 1


def test_forward_is_the_matrix():
    head = HyperComplexLinear(8)
    init_hypercomplex(head, "zero", torch.Generator().manual_seed(0))
    tokens = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(head(tokens), tokens @ head.weight.T)


@pytest.mark.parametrize("width", [0, 3, 6])
def test_width_must_hold_whole_quaternions(width: int):
    with pytest.raises(ConfigError, match="positive multiple of 4"):
        HyperComplexLinear(width)
