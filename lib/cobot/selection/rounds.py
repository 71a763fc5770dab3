"""Rounds of simulated annotation: a strategy chooses, the labels appear, the model learns."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from cobot.selection.case_scores import CaseScores
from cobot.selection.choose import UNSCORED, Pool, StrategyName, choose


@runtime_checkable
class Played(Protocol):
    """What rounds ask of a simulation."""

    def dice(self, labelled: Sequence[str], seed: int) -> Mapping[str, Mapping[str, float]]:
        """Case to structure to Dice, having learnt some cases."""
        ...

    def prompts(self, case: str, labelled: Sequence[str], seed: int) -> int:
        """What labelling a case takes, having learnt some others."""
        ...

    def scores(self, labelled: Sequence[str], seed: int) -> dict[str, CaseScores]:
        """Of every other case."""
        ...

    def vector(self, case: str) -> Float32[np.ndarray, " c"]:
        """How a case looks."""
        ...


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """How many cases are labelled when.

    Attributes:
        start: before the first choice, the same for every strategy but `first`.
        each: in a round.
        most: labelled cases at the end.
    """

    start: int = 1
    each: int = 2
    most: int = 7


@dataclass(frozen=True, slots=True)
class Round:
    """Where a strategy stands after a round.

    Attributes:
        strategy: its name.
        seed: of the start, of chance and of the trainings.
        labelled: cases, in the order they were chosen.
        prompts: spent on them.
        dice: validation case to its mean over structures.
    """

    strategy: str
    seed: int
    labelled: tuple[str, ...]
    prompts: int
    dice: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Dice, mean over the validation cases."""
        return float(np.mean(list(self.dice.values())))


def play(
    game: Played, cases: Sequence[str], strategy: StrategyName, seed: int, plan: RoundPlan
) -> Iterator[Round]:
    """The rounds of one strategy and seed, as they are finished.

    Args:
        game: trains and measures.
        cases: that can be labelled.
        strategy: chooses.
        seed: see `Round`.
        plan: see `RoundPlan`.
    """
    drawn = np.random.default_rng([seed, 0]).permutation(sorted(cases)).tolist()
    rng = np.random.default_rng([seed, 1 + zlib.crc32(strategy.encode())])
    start = sorted(cases) if strategy == "first" else drawn
    labelled: tuple[str, ...] = ()
    spent, wanted = 0, [str(one) for one in start[: plan.start]]
    while wanted:
        spent += sum(game.prompts(case, labelled, seed) for case in wanted)
        labelled = (*labelled, *wanted)
        yield Round(strategy, seed, labelled, spent, means(game.dice(labelled, seed)))
        count = min(plan.each, plan.most - len(labelled), len(cases) - len(labelled))
        wanted = _chosen(game, cases, strategy, labelled, count, rng, seed) if count > 0 else []


def means(dice: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """A case's Dice: the mean over the structures it has."""
    return {case: float(np.mean(list(found.values()))) for case, found in dice.items()}


def _chosen(
    game: Played,
    cases: Sequence[str],
    strategy: StrategyName,
    labelled: tuple[str, ...],
    count: int,
    rng: np.random.Generator,
    seed: int,
) -> list[str]:
    """The next cases, one after the other; the model learns them all at once."""
    scores: Mapping[str, CaseScores | None] = dict.fromkeys(cases)
    if strategy not in UNSCORED:
        scores = game.scores(labelled, seed)
    taken: list[str] = []
    for _ in range(count):
        known = [*labelled, *taken]
        free = {case: scores[case] for case in cases if case not in known}
        covered = [] if strategy in UNSCORED else [game.vector(case) for case in known]
        taken.append(choose(strategy, Pool(free, covered), rng).case)
    return taken
