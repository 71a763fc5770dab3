"""The hyper-complex head: a V x V projection made of quaternions (paper, section 4.3)."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from cobot.adapters.config import Init
from cobot.errors import ConfigError


def hamilton_matrix(
    components: Float[Tensor, "4 rows cols"],
) -> Float[Tensor, "4*rows 4*cols"]:
    """Return the real matrix of `x -> H ⊗ x`, the Hamilton product from the left (eq. 16).

    Args:
        components: the real, j1, j2 and j3 parts of a matrix H of quaternions.

    Returns:
        The matrix acting on vectors laid out part by part: all real parts, then all j1, j2, j3.

    With j1² = j2² = j3² = j1 j2 j3 = -1 (eq. 2):

        >>> j1, j2 = torch.eye(4)[1], torch.eye(4)[2]
        >>> (hamilton_matrix(j1[:, None, None]) @ j2).tolist()  # j1 j2 = j3
        [0.0, 0.0, 0.0, 1.0]
    """
    r, i, j, k = components.unbind(0)
    rows = (
        torch.cat([r, -i, -j, -k], dim=1),
        torch.cat([i, r, -k, j], dim=1),
        torch.cat([j, k, r, -i], dim=1),
        torch.cat([k, -j, i, r], dim=1),
    )
    return torch.cat(rows, dim=0)


@final
class HyperComplexLinear(nn.Module):
    """Projection head W whose V x V weights are spanned by (V/4)² quaternions, without bias.

    It has V²/4 parameters, a quarter of a plain linear layer.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        if width < 4 or width % 4:
            raise ConfigError(
                f"Hyper-complex width {width}: a quaternion has four parts, so V must be a "
                "positive multiple of 4."
            )
        self.components = nn.Parameter(torch.zeros(4, width // 4, width // 4))

    @property
    def weight(self) -> Float[Tensor, "v v"]:
        """The real matrix W, row = output."""
        return hamilton_matrix(self.components)

    def forward(self, hidden: Float[Tensor, "*tokens v"]) -> Float[Tensor, "*tokens v"]:
        """Return W applied to the last axis."""
        return functional.linear(hidden, self.weight)


@torch.no_grad()
def init_hypercomplex(head: HyperComplexLinear, init: Init, generator: torch.Generator) -> None:
    """Set the start of a head in place.

    Args:
        head: on the generator's device.
        init: "zero" puts a unit quaternion, uniform on the sphere, on each place of the diagonal,
            so that W is orthogonal as section 4.3 asks, for any V; "paper" is the published start,
            real part 0 and imaginary parts uniform in [0, 1), which is orthogonal (up to its
            scale) only for V = 4.
        generator: source of the random numbers.
    """
    parts = head.components
    if init == "paper":
        parts.uniform_(generator=generator)
        parts[0].zero_()
        return
    quaternions = torch.randn(4, parts.shape[1], generator=generator, device=parts.device)
    quaternions = functional.normalize(quaternions.double(), dim=0)
    parts.copy_(torch.diag_embed(quaternions))
