"""The learning rate over a training."""

import math

from cobot.training.recipe import Recipe

FLOOR = 0.02


def rate_factor(recipe: Recipe, step: int, steps: int) -> float:
    """What all rates are multiplied by at step number `step` (from 0) of `steps`.

    Constant, or a linear warm-up over at most a tenth of the steps and a half cosine to 2 %.
    """
    if recipe.schedule == "constant":
        return 1.0
    warmup = min(recipe.warmup_steps, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * done))
