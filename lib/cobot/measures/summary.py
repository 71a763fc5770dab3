"""Scores of many cases in one row a structure: means with intervals, and what could not be met."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cobot.measures.compare import LabelScore
from cobot.measures.interval import Bootstrap, MeanWithInterval, mean_with_interval
from cobot.measures.mask_scores import MaskScores, Presence

MEASURES: Mapping[str, Callable[[MaskScores], float | None]] = {
    "dice": lambda one: one.dice,
    "surface_dice": lambda one: one.surface_dice,
    "hd95_mm": lambda one: one.hd95_mm,
    "volume_error_ml": lambda one: one.volume_error_ml,
    "absolute_volume_error_ml": lambda one: one.absolute_volume_error_ml,
    "volume_error_percent": lambda one: one.volume_error_percent,
}
ALL_LABELS = "mean of labels"


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """One structure over all cases.

    Attributes:
        label: its name, or `ALL_LABELS`: there each case counts once, with its mean over labels.
        means: measure to mean; None where no case could be measured.
        presence: how many cases hold it in both, neither, or one of the two files; of `ALL_LABELS`
            each label of a case counts.
        cases: how many were compared.
    """

    label: str
    means: Mapping[str, MeanWithInterval | None]
    presence: Mapping[Presence, int]
    cases: int


def summarise(scores: Sequence[LabelScore], bootstrap: Bootstrap) -> list[LabelSummary]:
    """Every structure in the order of its first appearance; with several, the mean of them last."""
    by_label: dict[str, list[LabelScore]] = defaultdict(list)
    for one in scores:
        by_label[one.label].append(one)
    rows = [_row(label, found, bootstrap) for label, found in by_label.items()]
    return [*rows, _row(ALL_LABELS, scores, bootstrap)] if len(rows) > 1 else rows


def _row(label: str, scores: Sequence[LabelScore], bootstrap: Bootstrap) -> LabelSummary:
    return LabelSummary(
        label=label,
        means={
            measure: mean_with_interval(_by_case(scores, value), bootstrap)
            for measure, value in MEASURES.items()
        },
        presence=Counter(one.scores.presence for one in scores),
        cases=len({one.case for one in scores}),
    )


def _by_case(
    scores: Sequence[LabelScore], value: Callable[[MaskScores], float | None]
) -> list[float]:
    """One value a case, so that the interval is over cases: the mean of what it has."""
    cases: dict[str, list[float]] = defaultdict(list)
    for one in scores:
        measured = value(one.scores)
        if measured is not None:
            cases[one.case].append(measured)
    return [float(np.mean(values)) for values in cases.values()]
