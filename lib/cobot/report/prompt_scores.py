"""Tables and a plot of how well prompts are answered, from per-case results."""

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from cobot.atomic import atomic_path

matplotlib.use("Agg")

DISC = "click_disc_"

SHOWN = ("box", "box_ellipse", "box_jitter", "box_jitter_ellipse", "click_1", f"{DISC}10_mm",
         "best_disc", "click_3", "click_5", "clicks_to_0.85")  # fmt: skip
"""Measures of the summary, each model figure beside its trivial baselines."""


LEGEND_WIDTH_INCH = 7.6
"""A plot of one structure is no narrower, or its legend would be cut."""


@dataclass(frozen=True, slots=True)
class CaseScore:
    """One measure of one structure of one case."""

    case: str
    structure: str
    measure: str
    value: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean and sample standard deviation over cases."""

    mean: float
    sd: float
    cases: int


def flatten(
    results: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> list[CaseScore]:
    """Case to structure to measure to value, as rows."""
    return [
        CaseScore(case, structure, measure, value)
        for case, structures in results.items()
        for structure, measures in structures.items()
        for measure, value in measures.items()
    ]


def summarise(scores: Sequence[CaseScore]) -> dict[str, dict[str, Summary]]:
    """Structure to measure to mean and spread over cases.

    A disc of 10 mm at the click knows nothing. `best_disc` has the one radius that is best over all
    structures of this very data: no one knows it beforehand, and it is the harder baseline. The
    row "mean of structures" averages the means and carries the spread between structures.
    """
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        values[score.structure][score.measure].append(score.value)
    for measures in values.values():
        measures["best_disc"] = measures[best_disc(scores)]
    table = {
        structure: {measure: _summary(measures[measure]) for measure in SHOWN}
        for structure, measures in values.items()
    }
    table["mean of structures"] = {
        measure: _summary([row[measure].mean for row in table.values()]) for measure in SHOWN
    }
    return table


def best_disc(scores: Sequence[CaseScore]) -> str:
    """The disc measure with the highest mean over all structures and cases."""
    found: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        if score.measure.startswith(DISC):
            found[score.measure].append(score.value)
    return max(found, key=lambda measure: float(np.mean(found[measure])))


def spread_over_seeds(scores: Sequence[CaseScore]) -> dict[str, float]:
    """Sample standard deviation over seeds of each jittered measure's mean of structures.

    A measure is named `box_jitter@SEED` for each seed. Empty with fewer than two seeds.
    """
    values: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        measure, mark, seed = score.measure.partition("@")
        if mark:
            values[measure, seed][score.structure].append(score.value)
    means: dict[str, list[float]] = defaultdict(list)
    for (measure, _), structures in values.items():
        means[measure].append(float(np.mean([np.mean(one) for one in structures.values()])))
    return {
        measure: float(np.std(found, ddof=1)) for measure, found in means.items() if len(found) > 1
    }


def write_scores(scores: Sequence[CaseScore], setting: Mapping[str, str], folder: Path) -> None:
    """Write per_case.csv, summary.json and summary.png, each whole or not at all.

    Args:
        scores: every case, structure and measure.
        setting: what was measured: model, data, date, seed.
        folder: made if missing; files of an earlier run are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "per_case.csv"
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "structure", "measure", "value"])
        writer.writerows([s.case, s.structure, s.measure, f"{s.value:.6f}"] for s in scores)
    table = summarise(scores)
    content = {
        "setting": dict(setting) | {"best_disc": best_disc(scores)},
        "sd_over_jitter_seeds": spread_over_seeds(scores),
        "structures": {
            structure: {
                measure: {"mean": row.mean, "sd": row.sd, "cases": row.cases}
                for measure, row in measures.items()
            }
            for structure, measures in table.items()
        },
    }
    with atomic_path(folder / "summary.json") as path:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    with atomic_path(folder / "summary.png") as path:
        _plot(table, setting).savefig(path, dpi=130)


def markdown(table: Mapping[str, Mapping[str, Summary]]) -> str:
    """The summary as a Markdown table of mean ± sd."""
    lines = [
        "| structure | cases | " + " | ".join(SHOWN) + " |",
        "|---" * (len(SHOWN) + 2) + "|",
    ]
    for structure, row in table.items():
        cells = [f"{row[measure].mean:.3f} ± {row[measure].sd:.3f}" for measure in SHOWN]
        lines.append(f"| {structure} | {row['box'].cases} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _summary(values: Sequence[float]) -> Summary:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Summary(float(np.mean(values)), spread, len(values))


def _plot(table: Mapping[str, Mapping[str, Summary]], setting: Mapping[str, str]) -> Figure:
    pairs = (
        ("box_jitter", "box, 5 % jitter", "#0072B2"),
        ("box_jitter_ellipse", "ellipse in that box", "#9ecae1"),
        ("click_1", "one click", "#D55E00"),
        ("best_disc", "best disc at the click", "#fdbe85"),
        ("click_5", "five clicks", "#009E73"),
    )
    width = max(LEGEND_WIDTH_INCH, 1.6 + 1.5 * len(table))
    figure = Figure(figsize=(width, 4.2), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(table))
    for offset, (measure, name, colour) in enumerate(pairs):
        means = [row[measure].mean for row in table.values()]
        spreads = [row[measure].sd for row in table.values()]
        axes.bar(
            at + (offset - 2) * 0.16, means, 0.15, yerr=spreads, label=name, color=colour,
            error_kw={"elinewidth": 0.8, "ecolor": "#555555"},
        )  # fmt: skip
    axes.set_xticks(at, list(table))
    axes.set_ylim(0, 1)
    axes.set_ylabel("3D Dice per case (mean, sd)")
    axes.set_title(f"{setting['model']} on {setting['data']}", loc="left", fontsize=10)
    axes.legend(ncols=5, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.1), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
