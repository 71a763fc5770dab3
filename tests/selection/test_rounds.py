"""Rounds on a game whose scores and Dice are known by hand."""

import numpy as np
import pytest
from cobot.selection.case_scores import CaseScores, ObjectScore
from cobot.selection.rounds import RoundPlan, play

CASES = ["a", "b", "c", "d", "e"]
PLACE = {name: float(rank) for rank, name in enumerate(CASES)}
UNSURE = {"a": 0.5, "b": 0.4, "c": 0.3, "d": 0.2, "e": 0.1}


class Game:
    """Dice is a tenth of the labelled cases; labelling a case takes ten prompts less each time."""

    def __init__(self):
        self.asked = []

    def dice(self, labelled, seed):
        return {"v": {"liver": len(labelled) / 10, "spleen": len(labelled) / 10}}

    def prompts(self, case, labelled, seed):
        return 100 - 10 * len(labelled)

    def scores(self, labelled, seed):
        self.asked.append(tuple(labelled))
        return {
            case: CaseScores({"": ObjectScore(UNSURE[case], 0.5)}, self.vector(case))
            for case in CASES
            if case not in labelled
        }

    def vector(self, case):
        return np.array([PLACE[case], 0], np.float32)


def test_rounds_add_up():
    rounds = list(play(Game(), CASES, "first", 0, RoundPlan(start=1, each=2, most=4)))
    assert [one.labelled for one in rounds] == [("a",), ("a", "b", "c"), ("a", "b", "c", "d")]
    # 100, then two at 90, then one at 70.
    assert [one.prompts for one in rounds] == [100, 280, 350]
    assert [one.mean for one in rounds] == pytest.approx([0.1, 0.3, 0.4])


def test_every_strategy_starts_with_the_same_case_and_ends_with_all():
    plan = RoundPlan(start=1, each=2, most=5)
    starts = set()
    for strategy in ("random", "uncertainty", "diversity", "hybrid"):
        rounds = list(play(Game(), CASES, strategy, 3, plan))
        starts.add(rounds[0].labelled)
        assert sorted(rounds[-1].labelled) == CASES
    assert len(starts) == 1
    seeds = {next(play(Game(), CASES, "random", seed, plan)).labelled for seed in range(30)}
    assert len(seeds) == 5


def test_a_round_chooses_by_the_model_of_its_beginning():
    game = Game()
    rounds = list(play(game, CASES, "uncertainty", 0, RoundPlan(1, 2, 5)))
    assert game.asked == [rounds[0].labelled, rounds[1].labelled]
    left = [case for case in CASES if case not in rounds[0].labelled]
    assert list(rounds[1].labelled[1:]) == left[:2]


def test_diversity_spreads_within_a_round():
    (first, second) = play(Game(), CASES, "diversity", 0, RoundPlan(1, 2, 3))
    at = PLACE[first.labelled[0]]
    farthest = max(CASES, key=lambda case: abs(PLACE[case] - at))
    assert second.labelled[1] == farthest
    covered = (at, PLACE[farthest])
    rest = [case for case in CASES if case not in (*first.labelled, farthest)]
    best = max(min(abs(PLACE[case] - one) for one in covered) for case in rest)
    assert min(abs(PLACE[second.labelled[2]] - one) for one in covered) == best
