"""The strategies: which of the cases that are free is worth an annotator's time most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float32
from scipy.stats import rankdata

from cobot.errors import ConfigError
from cobot.selection.case_scores import CaseScores, Signal
from cobot.selection.diversity import novelty

StrategyName = Literal["random", "hybrid", "uncertainty", "diversity", "first"]
STRATEGIES: tuple[StrategyName, ...] = get_args(StrategyName)
UNSCORED: tuple[StrategyName, ...] = ("random", "first")
"""Those that need no scores."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A case, and why it.

    Attributes:
        case: its name.
        reason: a sentence for the annotator.
        uncertainty: of the case, if it has scores.
        novelty: distance to the nearest case that is covered; None without scores, or where
            nothing is covered.
    """

    case: str
    reason: str
    uncertainty: float | None = None
    novelty: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """What can be chosen from, and what need not be chosen again.

    Attributes:
        free: case to its scores; None where it has none yet.
        covered: vectors of cases that are labelled, or that others are at.
    """

    free: Mapping[str, CaseScores | None]
    covered: Sequence[Float32[np.ndarray, " c"]] = ()


def choose(
    strategy: str,
    pool: Pool,
    rng: np.random.Generator,
    signal: Signal = "disagreement",
    label: str = "",
) -> Choice:
    """Choose one case.

    `uncertainty` takes the case the model is least sure of, `diversity` the one farthest from
    every covered case (k-center greedy), `hybrid` the highest product of the two ranks, so that a
    case must be worth it on both counts: the two have no common unit, their ranks have. Ties go
    to the first by name. Cases without scores wait until those with scores are taken, and then go
    by name.

    Args:
        strategy: one of `STRATEGIES`.
        pool: at least one case to choose from.
        rng: for `random`.
        signal: what uncertainty is taken from.
        label: of which structure; empty takes all.

    Raises:
        ConfigError: no such strategy.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"Unknown strategy {strategy!r}; choose {', '.join(STRATEGIES)}.")
    names = sorted(pool.free)
    if strategy == "first":
        return Choice(names[0], "The first by name.")
    if strategy == "random":
        return Choice(names[int(rng.integers(len(names)))], "Drawn by chance.")
    scored = {name: scores for name in names if (scores := pool.free[name]) is not None}
    if not scored:
        return Choice(names[0], "The first by name: no free case has scores of this model yet.")
    return _best(strategy, scored, pool.covered, signal, label, len(names))


def _best(
    strategy: str,
    scored: Mapping[str, CaseScores],
    covered: Sequence[Float32[np.ndarray, " c"]],
    signal: Signal,
    label: str,
    free: int,
) -> Choice:
    names = list(scored)
    vectors = np.stack([one.vector for one in scored.values()])
    unsure = np.array([one.uncertainty(signal, label) for one in scored.values()])
    new = novelty(vectors, np.stack(covered) if covered else vectors[:0])
    best = int(np.argmax(_worth(strategy, unsure, new)))
    return Choice(
        case=names[best],
        reason=f"{_REASONS[strategy]} {len(scored)} scored cases ({free} are free).",
        uncertainty=float(unsure[best]),
        novelty=float(new[best]) if covered else None,
    )


_REASONS: Mapping[str, str] = {
    "uncertainty": "The case the model is least sure of, among",
    "diversity": "The case least like those labelled, among",
    "hybrid": "The model is unsure of it and it is unlike those labelled: first of",
}


def _worth(
    strategy: str, unsure: Float[np.ndarray, " n"], new: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    if strategy == "uncertainty":
        return unsure
    return new if strategy == "diversity" else rankdata(unsure) * rankdata(new)
