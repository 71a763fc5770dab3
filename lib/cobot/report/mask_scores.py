"""Masks against the truth: CSV per case, JSON summary, Markdown table."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from cobot.atomic import atomic_path
from cobot.measures.compare import LabelScore
from cobot.measures.interval import MeanWithInterval
from cobot.measures.mask_scores import Presence
from cobot.measures.summary import MEASURES, LabelSummary

PER_CASE_NAME, SUMMARY_NAME = "per_case.csv", "summary.json"

COLUMNS: Mapping[str, tuple[str, str]] = {
    "dice": ("Dice", ".3f"),
    "surface_dice": ("surface Dice", ".3f"),
    "hd95_mm": ("HD95 mm", ".1f"),
    "volume_error_ml": ("volume error mL", "+.1f"),
    "volume_error_percent": ("%", "+.1f"),
}
"""Of the table on screen: what stands above, and how a figure is written."""


def write_mask_scores(
    scores: Sequence[LabelScore],
    rows: Sequence[LabelSummary],
    setting: Mapping[str, object],
    folder: Path,
) -> None:
    """Write per_case.csv and summary.json, each whole or not at all.

    In the CSV a measure that does not exist (see `MaskScores`) is an empty field.

    Args:
        scores: every structure of every case.
        rows: the summary.
        setting: what was compared, and how.
        folder: made if missing; files of an earlier run are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PER_CASE_NAME
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "label", "presence", "prediction_ml", "truth_ml", *MEASURES])
        writer.writerows(_line(one) for one in scores)
    content = {"setting": dict(setting), "labels": {row.label: _summary(row) for row in rows}}
    with atomic_path(folder / SUMMARY_NAME) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def mask_table(rows: Sequence[LabelSummary]) -> str:
    """The summary as a Markdown table: mean and 95 % interval, and what only one file holds."""
    heads = ["label", "cases", *(title for title, _ in COLUMNS.values())]
    lines = [f"| {' | '.join([*heads, 'missed', 'invented', 'in neither'])} |"]
    lines.append("|---" * (len(heads) + 3) + "|")
    for row in rows:
        cells = [row.label.replace("|", "\\|"), str(row.cases)]
        cells += [_cell(row.means[measure], form) for measure, (_, form) in COLUMNS.items()]
        alone = (Presence.ONLY_TRUTH, Presence.ONLY_PREDICTION, Presence.NEITHER)
        cells += [str(row.presence.get(kind, 0)) for kind in alone]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _line(one: LabelScore) -> list[str]:
    measured = [value(one.scores) for value in MEASURES.values()]
    return [
        one.case,
        one.label,
        one.scores.presence.value,
        f"{one.scores.prediction_ml:.6g}",
        f"{one.scores.truth_ml:.6g}",
        *("" if value is None else f"{value:.6g}" for value in measured),
    ]


def _summary(row: LabelSummary) -> dict[str, object]:
    return {
        "presence": {kind.value: row.presence.get(kind, 0) for kind in Presence},
        **{name: None if mean is None else asdict(mean) for name, mean in row.means.items()},
    }


def _cell(mean: MeanWithInterval | None, form: str) -> str:
    if mean is None:
        return "-"
    if mean.low is None or mean.high is None:
        return f"{mean.mean:{form}}"
    return f"{mean.mean:{form}} ({mean.low:{form}} to {mean.high:{form}})"
