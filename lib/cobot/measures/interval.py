"""A mean over cases, and how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TAILS_PERCENT = (2.5, 97.5)
"""A 95 % interval."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How means are resampled.

    Attributes:
        resamples: how many times cases are drawn anew, with replacement.
        seed: of the draws; every mean begins with it, so that none depends on another.
    """

    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class MeanWithInterval:
    """Mean over cases.

    Attributes:
        mean: of all cases counted.
        low: 2.5th percentile of the resampled means; None with a single case.
        high: 97.5th percentile.
        cases: how many were counted.
    """

    mean: float
    low: float | None
    high: float | None
    cases: int


def mean_with_interval(values: Sequence[float], bootstrap: Bootstrap) -> MeanWithInterval | None:
    """The mean of one value a case, with its percentile bootstrap interval; None without values."""
    if not values:
        return None
    cases = len(values)
    known = np.array(values, np.float64)
    if cases == 1:
        return MeanWithInterval(float(known[0]), None, None, 1)
    rng = np.random.default_rng(bootstrap.seed)
    means = known[rng.integers(0, cases, (bootstrap.resamples, cases))].mean(axis=1)
    low, high = np.percentile(means, TAILS_PERCENT)
    return MeanWithInterval(float(known.mean()), float(low), float(high), cases)
