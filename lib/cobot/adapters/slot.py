"""One adapted place's own part of COBOT: coefficients, then the projection head."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cobot.adapters.config import AdapterConfig
from cobot.adapters.hypercomplex import HyperComplexLinear, init_hypercomplex
from cobot.adapters.relation import LinkedColumn


@final
class SlotProjection(nn.Module):
    """`h -> W(c ⊙ h)` on the hidden size V, with c = Λ^MC + (Λ^LM S)_t (eq. 17).

    Both branches of eq. 17 are linear in Λ, so the two sets of coefficients add. Without linked
    coefficients c is left out; without a head W is left out: then this is the identity.
    """

    own: nn.Parameter | None
    head: nn.Linear | HyperComplexLinear | None

    def __init__(
        self, width: int, linked: LinkedColumn | None, head: nn.Linear | HyperComplexLinear | None
    ) -> None:
        super().__init__()
        self.width = width
        self.linked = linked
        self.own = None if linked is None else nn.Parameter(torch.ones(width))
        self.head = head

    def coefficients(self) -> Float[Tensor, " v"] | None:
        """Return c, or None where the coefficient sets are off."""
        if self.own is None or self.linked is None:
            return None
        return self.own + self.linked()

    def forward(self, hidden: Float[Tensor, "*tokens v"]) -> Float[Tensor, "*tokens v"]:
        """Return W(c ⊙ h) over the last axis."""
        coefficients = self.coefficients()
        if coefficients is not None:
            hidden = hidden * coefficients
        if self.head is not None:
            hidden = self.head(hidden)
        return hidden

    @torch.no_grad()
    def matrix(self) -> Float[Tensor, "v v"]:
        """Return W diag(c) in double precision, for folding."""
        coefficients = self.coefficients()
        parameters = [parameter for parameter in self.parameters()]
        device = parameters[0].device if parameters else None
        product = torch.eye(self.width, dtype=torch.float64, device=device)
        if coefficients is not None:
            product = product * coefficients.double()
        if self.head is not None:
            product = self.head.weight.double() @ product
        return product


def build_slot(
    config: AdapterConfig, linked: LinkedColumn | None, generator: torch.Generator
) -> SlotProjection:
    """Return a slot's projection at its start, as the configuration's switches say."""
    head: nn.Linear | HyperComplexLinear | None = None
    if config.head == "linear":
        head = nn.Linear(config.width, config.width, bias=False)
        nn.init.kaiming_uniform_(head.weight, a=5**0.5, generator=generator)
    elif config.head == "hyper-complex":
        head = HyperComplexLinear(config.width)
        init_hypercomplex(head, config.init, generator)
    return SlotProjection(config.width, linked, head)
