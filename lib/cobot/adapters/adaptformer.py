"""AdaptFormer beside a block's MLP, plain or with COBOT's projection in its bottleneck."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from cobot.adapters.slot import SlotProjection
from cobot.errors import AdapterError


@dataclass(frozen=True, slots=True)
class BranchSettings:
    """How strongly and how noisily the branch speaks: factor s, dropout probability."""

    scale: float
    dropout: float


@final
class AdaptFormerMlp(nn.Module):
    """`y = mlp(x) + s · up(drop(relu(W(c ⊙ down(LN x)))))` (section 3.3, eq. 17).

    x is what the block's second norm gives; the branch has its own LayerNorm (eps 1e-5) as well.
    """

    base: nn.Module

    def __init__(
        self, base: nn.Module, projection: SlotProjection, settings: BranchSettings
    ) -> None:
        super().__init__()
        dim, out = _mlp_widths(base)
        self.base = base
        self.norm = nn.LayerNorm(dim)
        self.down = nn.Linear(dim, projection.width)
        self.projection = projection
        self.up = nn.Linear(projection.width, out)
        self.settings = settings

    def forward(self, tokens: Float[Tensor, "*tokens dim"]) -> Float[Tensor, "*tokens out"]:
        """Return the MLP's output plus the branch's."""
        hidden = functional.relu(self.projection(self.down(self.norm(tokens))))
        hidden = functional.dropout(hidden, self.settings.dropout, self.training)
        branch: Tensor = self.settings.scale * self.up(hidden)
        main: Tensor = self.base(tokens)
        return main + branch

    def adapter_parameters(self) -> dict[str, nn.Parameter]:
        """Return norm, down, up and COBOT's parts by local name."""
        return {
            f"{part}.{name}": parameter
            for part, module in (
                ("norm", self.norm),
                ("down", self.down),
                ("projection", self.projection),
                ("up", self.up),
            )
            for name, parameter in module.named_parameters()
        }

    def orchestration_parameters(self) -> dict[str, nn.Parameter]:
        """Return the own coefficients and the head."""
        return {
            f"projection.{name}": parameter
            for name, parameter in self.projection.named_parameters()
        }

    @torch.no_grad()
    def folded(self) -> nn.Module:
        """Return a plain AdaptFormer of the same function.

        `W(c ⊙ (D x + b)) = (W diag(c) D) x + W diag(c) b`, summed in double precision. The ReLU
        behind it keeps the branch from merging into the MLP.
        """
        plain = AdaptFormerMlp(
            self.base, SlotProjection(self.projection.width, None, None), self.settings
        ).to(self.down.weight)
        matrix = self.projection.matrix().to(self.down.weight.device)
        plain.norm.load_state_dict(self.norm.state_dict())
        plain.up.load_state_dict(self.up.state_dict())
        plain.down.weight.copy_(matrix @ self.down.weight.double())
        plain.down.bias.copy_(matrix @ self.down.bias.double())
        return plain.requires_grad_(False)


@torch.no_grad()
def init_adaptformer(layer: AdaptFormerMlp, generator: torch.Generator) -> None:
    """Set the branch's start in place: down Kaiming uniform (a = √5), up and biases 0."""
    nn.init.kaiming_uniform_(layer.down.weight, a=5**0.5, generator=generator)
    nn.init.zeros_(layer.down.bias)
    nn.init.zeros_(layer.up.weight)
    nn.init.zeros_(layer.up.bias)


def _mlp_widths(mlp: nn.Module) -> tuple[int, int]:
    """Return an MLP's input and output width, from its first and last linear layer."""
    linears = [module for module in mlp.modules() if isinstance(module, nn.Linear)]
    if not linears:
        raise AdapterError(f"AdaptFormer adapts an MLP with linear layers; got {mlp}.")
    return linears[0].in_features, linears[-1].out_features
