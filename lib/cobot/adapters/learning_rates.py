"""Two learning rates, as the paper trains: one for what COBOT adds, one for the rest."""

from torch import nn

from cobot.adapters.handle import AttachedAdapters


def learning_rate_groups(
    handle: AttachedAdapters,
    base_lr: float,
    orchestration_lr: float,
    decoder: tuple[nn.Parameter, ...] = (),
) -> list[dict[str, object]]:
    """Return optimiser groups: (S, Λ, W) at their own rate, the rest and the decoder at another.

    The paper's recipe uses 1.25e-6 and 1.25e-4. A group without parameters is left out.
    """
    fast = handle.orchestration_parameters()
    slow = [value for name, value in handle.parameters().items() if name not in fast]
    groups: list[dict[str, object]] = [
        {"name": "base", "params": [*slow, *decoder], "lr": base_lr},
        {"name": "orchestration", "params": list(fast.values()), "lr": orchestration_lr},
    ]
    return [group for group in groups if group["params"]]
