"""The strategies on cases whose scores are known by hand."""

import numpy as np
import pytest
from cobot.errors import ConfigError
from cobot.selection.case_scores import CaseScores, ObjectScore
from cobot.selection.choose import STRATEGIES, Pool, choose


def case(unsure: float, at: float, **objects: float) -> CaseScores:
    found = {"": unsure, **objects} if not objects else objects
    scores = {name: ObjectScore(value, 1.0 - value / 2) for name, value in found.items()}
    return CaseScores(scores, np.array([at, 0], np.float32))


# d is the least sure but a copy of what is labelled; c is the farthest but clear; b is both.
FREE = {"a": case(0.1, 1.0), "b": case(0.4, 8.0), "c": case(0.2, 9.0), "d": case(0.5, 0.0)}
COVERED = [np.zeros(2, np.float32)]


def chosen(strategy, free=FREE, covered=COVERED, seed=0, **options):
    return choose(strategy, Pool(free, covered), np.random.default_rng(seed), **options)


def test_each_strategy_takes_its_own():
    found = {name: chosen(name).case for name in ("first", "uncertainty", "diversity", "hybrid")}
    assert found == {"first": "a", "uncertainty": "d", "diversity": "c", "hybrid": "b"}


def test_the_answer_says_why():
    answer = chosen("hybrid")
    assert (answer.uncertainty, answer.novelty) == (pytest.approx(0.4), pytest.approx(8.0))
    assert "4 scored cases (4 are free)" in answer.reason
    assert chosen("hybrid", covered=[]).novelty is None


def test_chance_is_repeatable_and_reaches_every_case():
    assert chosen("random", seed=3) == chosen("random", seed=3)
    assert {chosen("random", seed=seed).case for seed in range(40)} == set(FREE)


def test_cases_without_scores_wait_and_then_go_by_name():
    some = {**FREE, "0 new": None}
    assert chosen("hybrid", some).case == "b"
    assert "4 scored cases (5 are free)" in chosen("hybrid", some).reason
    none = {"y": None, "x": None}
    for name in ("uncertainty", "diversity", "hybrid"):
        assert chosen(name, none).case == "x"
        assert "no free case has scores" in chosen(name, none).reason


def test_a_label_or_a_signal_may_be_what_counts():
    free = {"a": case(0, 1.0, liver=0.1, spleen=0.9), "b": case(0, 1.0, liver=0.6, spleen=0.2)}
    assert chosen("uncertainty", free).case == "a"
    assert chosen("uncertainty", free, label="liver").case == "b"
    assert chosen("uncertainty", free, signal="predicted_iou").case == "a"
    # Where a label was not found, that is what should be looked at.
    assert chosen("uncertainty", {**free, "c": case(0.0, 1.0)}, label="liver").case == "c"


def test_ties_go_to_the_first_by_name():
    same = {"b": case(0.3, 1.0), "a": case(0.3, 1.0)}
    assert {chosen(name, same).case for name in STRATEGIES if name != "random"} == {"a"}


def test_an_unknown_strategy_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"'best'; choose random, hybrid, uncertainty"):
        chosen("best")
