"""What the blocks tell each other: linked coefficients and the relation matrix (section 4.2)."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Inexact
from torch import Tensor, nn

from cobot.adapters.config import Relation


def mode_3_product(
    tensor: Inexact[Tensor, "*front slots"], matrix: Inexact[Tensor, "slots out"]
) -> Inexact[Tensor, "*front out"]:
    """Return `tensor ×₃ matrix`: frontal slice t becomes the sum over u of slice_u · S[u, t].

    The last axis counts the frontal slices (eqs. 11 and 13). Diagonal slices may be given as their
    diagonals, `(V, T)`, since a sum of diagonal matrices is the sum of their diagonals.

        >>> mode_3_product(torch.tensor([[1.0, 10.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        tensor([[11., 10.]])
    """
    return tensor @ matrix


@final
class CrossBlockRelation(nn.Module):
    """Linked coefficients of all slots and the matrix S that mixes them; one per encoder.

    Λ^LM starts at ones and S at the identity, or at a random orthogonal matrix when fixed (random
    as in Table 2, and invertible for certain as eq. 12 wants).
    """

    linked: nn.Parameter
    matrix: Tensor | None

    def __init__(
        self, width: int, slots: int, relation: Relation, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.linked = nn.Parameter(torch.ones(width, slots))
        if relation == "learned":
            self.matrix = nn.Parameter(torch.eye(slots))
        elif relation == "fixed":
            gaussian = torch.randn(slots, slots, generator=generator, dtype=torch.float64)
            self.register_buffer("matrix", torch.linalg.qr(gaussian).Q.float())
        else:
            self.matrix = None

    def forward(self, slot: int) -> Inexact[Tensor, " v"]:
        """Return the linked coefficients of one slot, column `slot` of Λ^LM ×₃ S."""
        if self.matrix is None:
            return self.linked[:, slot]
        # One column is all that a slot needs: V x T products instead of V x T x T.
        return mode_3_product(self.linked, self.matrix[:, slot : slot + 1])[:, 0]


@dataclass(frozen=True)
class LinkedColumn:
    """One slot's view of the shared relation.

    A plain value, not a module: a slot may read the relation without registering it a second time.
    """

    relation: CrossBlockRelation
    slot: int

    def __call__(self) -> Inexact[Tensor, " v"]:
        """Return the slot's linked coefficients."""
        column: Tensor = self.relation(self.slot)
        return column
