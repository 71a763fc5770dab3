"""Muon in fp32: torch's own computes in bf16, which some CPUs can only imitate."""

import torch
from jaxtyping import Float
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic whose repetition brings all singular values near 1 (Jordan et al. 2024)."""

REPETITIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum whose updates are made orthogonal, for matrices alone (Jordan et al. 2024).

    The size of an update is that of AdamW's (0.2 a weight, root mean square), so their rates can
    be the same. `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"` does this in bf16, 20
    times slower on CPUs without instructions for it.
    """

    def __init__(
        self,
        matrices: list[Tensor],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(matrices, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum"] = torch.zeros_like(matrix)
                mean = state["momentum"]
                mean.lerp_(matrix.grad, 1 - group["momentum"])
                update = orthogonalised(torch.lerp(matrix.grad, mean, group["momentum"]))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.sub_(update, alpha=group["lr"] * 0.2 * max(matrix.shape) ** 0.5)


def orthogonalised(matrix: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """The matrix with its singular values brought near 1, by Newton and Schulz's iteration."""
    a, b, c = COEFFICIENTS
    upright = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if upright else matrix
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(REPETITIONS):
        square = wide @ wide.T
        wide = a * wide + (b * square + c * square @ square) @ wide
    return wide.T if upright else wide
