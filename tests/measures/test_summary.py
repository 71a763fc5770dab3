"""Means over cases, their intervals, and what is counted apart."""

import numpy as np
import pytest
from cobot.measures.compare import LabelScore
from cobot.measures.interval import Bootstrap, mean_with_interval
from cobot.measures.mask_scores import MaskScores, Presence
from cobot.measures.summary import ALL_LABELS, summarise

DRAWS = Bootstrap(resamples=500, seed=3)


def found(case: str, label: str, dice: float) -> LabelScore:
    return LabelScore(case, label, MaskScores(Presence.BOTH, dice, dice, 1.0, 9.0, 10.0))


def absent(case: str, label: str) -> LabelScore:
    return LabelScore(case, label, MaskScores(Presence.NEITHER, None, None, None, 0.0, 0.0))


def test_an_interval_holds_the_mean_and_repeats():
    values = np.random.default_rng(0).normal(0.8, 0.1, 40).tolist()
    one = mean_with_interval(values, DRAWS)
    assert one == mean_with_interval(values, DRAWS)
    assert one != mean_with_interval(values, Bootstrap(500, seed=4))
    assert one.low < one.mean < one.high
    # The standard error of a mean of forty is 0.1 / sqrt(40); an interval is four of them wide.
    assert one.high - one.low == pytest.approx(4 * 0.1 / np.sqrt(40), rel=0.35)


def test_equal_cases_leave_no_doubt_and_one_case_has_no_interval():
    equal = mean_with_interval([0.5, 0.5, 0.5], DRAWS)
    assert (equal.low, equal.mean, equal.high, equal.cases) == (0.5, 0.5, 0.5, 3)
    single = mean_with_interval([0.5], DRAWS)
    assert (single.low, single.mean, single.high) == (None, 0.5, None)
    assert mean_with_interval([], DRAWS) is None


def test_cases_without_the_label_are_counted_and_left_out_of_the_mean():
    rows = summarise([found("a", "liver", 0.8), absent("b", "liver")], DRAWS)
    assert [row.label for row in rows] == ["liver"]
    assert rows[0].means["dice"].mean == 0.8
    assert rows[0].means["dice"].cases == 1
    assert rows[0].means["volume_error_ml"].cases == 1
    assert rows[0].presence == {Presence.BOTH: 1, Presence.NEITHER: 1}


def test_the_mean_of_labels_counts_each_case_once():
    scores = [found("a", "liver", 1.0), found("a", "spleen", 0.0), found("b", "liver", 1.0)]
    rows = {row.label: row for row in summarise(scores, DRAWS)}
    # Case a has 0.5, case b has 1; the mean of all three scores would be 0.667.
    assert rows[ALL_LABELS].means["dice"].mean == 0.75
    assert rows[ALL_LABELS].means["dice"].cases == 2
    assert (rows[ALL_LABELS].cases, rows["spleen"].cases) == (2, 1)
    assert rows["liver"].means["volume_error_percent"].mean == pytest.approx(-10.0)
