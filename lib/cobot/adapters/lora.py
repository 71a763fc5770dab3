"""LoRA on q and v of a fused qkv projection, plain or with COBOT's projection in between."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from cobot.adapters.config import Init
from cobot.adapters.slot import SlotProjection
from cobot.errors import AdapterError


@final
class LowRankBranch(nn.Module):
    """`Δ = s · B W(c ⊙ A x)`: a rank-V change of one projection (section 3.3, eq. 17)."""

    def __init__(
        self, in_features: int, out_features: int, projection: SlotProjection, scale: float
    ) -> None:
        super().__init__()
        self.lora_a = nn.Parameter(torch.zeros(projection.width, in_features))
        self.lora_b = nn.Parameter(torch.zeros(out_features, projection.width))
        self.projection = projection
        self.scale = scale

    def forward(self, tokens: Float[Tensor, "*tokens dim"]) -> Float[Tensor, "*tokens out"]:
        """Return the change of the projection's output; 0 for a token that is 0."""
        hidden = self.projection(functional.linear(tokens, self.lora_a))
        return self.scale * functional.linear(hidden, self.lora_b)

    @torch.no_grad()
    def delta_weight(self) -> Float[Tensor, "out dim"]:
        """Return `s · B W diag(c) A` in double precision."""
        matrix = self.projection.matrix().to(self.lora_a.device)
        return self.scale * (self.lora_b.double() @ matrix @ self.lora_a.double())


@torch.no_grad()
def init_low_rank(branch: LowRankBranch, init: Init, generator: torch.Generator) -> None:
    """Set A and B in place.

    Args:
        branch: on the generator's device.
        init: "zero" draws A (Kaiming uniform, a = √5) and leaves B = 0, so that nothing changes
            at the start; "paper" draws both Xavier-normal, as published, which is not the identity.
        generator: source of the random numbers.
    """
    if init == "paper":
        nn.init.xavier_normal_(branch.lora_a, generator=generator)
        nn.init.xavier_normal_(branch.lora_b, generator=generator)
        return
    nn.init.kaiming_uniform_(branch.lora_a, a=5**0.5, generator=generator)
    nn.init.zeros_(branch.lora_b)


@final
class LoraQkv(nn.Module):
    """A fused qkv projection whose q and v are changed by low-rank branches; k stays.

    The output keeps the base's layout: q, k and v one after the other on the last axis.
    """

    base: nn.Module

    def __init__(self, base: nn.Linear, query: LowRankBranch, value: LowRankBranch) -> None:
        super().__init__()
        self.base = base
        self.q = query
        self.v = value

    @property
    def bias(self) -> Tensor | None:
        """The base's bias, which is also the output for a token that is 0 (window padding)."""
        return _linear(self.base).bias

    def forward(self, tokens: Float[Tensor, "*tokens dim"]) -> Float[Tensor, "*tokens qkv"]:
        """Return q, k, v of the adapted block."""
        qkv: Tensor = self.base(tokens)
        out = qkv.shape[-1] // 3
        # The base's output is fresh and not needed by its backward, so adding in place is safe
        # and spares a copy of three times the tokens.
        qkv[..., :out] += self.q(tokens)
        qkv[..., -out:] += self.v(tokens)
        return qkv

    def adapter_parameters(self) -> dict[str, nn.Parameter]:
        """Return A, B and COBOT's parts of q and v by local name."""
        return {
            f"{part}.{name}": parameter
            for part, branch in (("q", self.q), ("v", self.v))
            for name, parameter in branch.named_parameters()
        }

    def orchestration_parameters(self) -> dict[str, nn.Parameter]:
        """Return the own coefficients and heads of q and v."""
        return {
            f"{part}.projection.{name}": parameter
            for part, branch in (("q", self.q), ("v", self.v))
            for name, parameter in branch.projection.named_parameters()
        }

    @torch.no_grad()
    def folded(self) -> nn.Module:
        """Return one plain linear layer of the same function: `W_qkv + ΔW`, summed in double."""
        base = _linear(self.base)
        out = base.out_features // 3
        weight = base.weight.to(torch.float64, copy=True)
        weight[:out] += self.q.delta_weight()
        weight[-out:] += self.v.delta_weight()
        merged = nn.Linear(base.in_features, base.out_features, bias=False, device="meta")
        merged.weight = nn.Parameter(weight.to(base.weight.dtype), requires_grad=False)
        merged.bias = base.bias
        return merged


def _linear(module: nn.Module) -> nn.Linear:
    """Return the module as the linear layer it must be."""
    if not isinstance(module, nn.Linear) or module.out_features % 3:
        raise AdapterError(
            f"LoRA adapts a fused qkv projection, a linear layer with 3 x width outputs; got "
            f"{module}."
        )
    return module


def build_lora(
    base: nn.Module, slots: tuple[SlotProjection, SlotProjection], scale: float
) -> LoraQkv:
    """Return the qkv layer with branches of B = 0; the widths are read from the base.

    Raises:
        AdapterError: the base is not a linear layer with 3 x width outputs.
    """
    linear = _linear(base)
    out = linear.out_features // 3
    query, value = (LowRankBranch(linear.in_features, out, slot, scale) for slot in slots)
    return LoraQkv(linear, query, value)
