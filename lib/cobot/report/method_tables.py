"""Tables 1 to 4 and Fig. 5 of SAM-COBOT, from finished cells: CSV, Markdown and plots."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cobot.adapters.config import METHOD_NAMES, AdapterConfig
from cobot.atomic import atomic_path
from cobot.report.method_scores import FinishedCell, PairedTest, chosen, compare, score

MEASURES: Mapping[str, str] = {
    "box_jitter": "a box on each slice, jittered as in the paper",
    "box": "a tight box on each slice",
    "propagated": "one box, propagated",
}
WIDTHS = (4, 8, 16, 32, 64)
PAIRS = (("lora+cobot", "lora"), ("adaptformer+cobot", "adaptformer"))
"""Each orchestrated method and the plain one it is tested against."""


def _ablation(**switches: object) -> AdapterConfig:
    return AdapterConfig.named("adaptformer", **switches)


COBOT = AdapterConfig.named("adaptformer+cobot")
TABLES: Mapping[str, Mapping[str, AdapterConfig]] = {
    "table4": {
        name: AdapterConfig.named(name)
        for name in sorted(METHOD_NAMES, key=("freeze", "lightweight").__contains__, reverse=True)
    },
    "table1": {
        "adaptformer": _ablation(),
        "+ coefficients": _ablation(coefficients=True),
        "+ hyper-complex head": _ablation(head="hyper-complex"),
        "+ coefficients, head": _ablation(coefficients=True, head="hyper-complex"),
        "+ coefficients, relation": _ablation(coefficients=True, relation="learned"),
        "+ coefficients, relation, head": COBOT,
    },
    "table2": {
        "fixed relation": AdapterConfig.named("adaptformer+cobot", relation="fixed"),
        "learned relation": COBOT,
    },
    "table3": {
        "linear head": AdapterConfig.named("adaptformer+cobot", head="linear"),
        "hyper-complex head": COBOT,
    },
    "fig5": {
        f"{name}, V = {width}": AdapterConfig.named(name, width=width)
        for name in ("adaptformer", "adaptformer+cobot")
        for width in WIDTHS
    },
}
"""Name of a table to its rows; configurations that recur are the same cells."""

TITLES: Mapping[str, str] = {
    "table4": "Table 4: methods",
    "table1": "Table 1: coefficient sets, relation and head",
    "table2": "Table 2: fixed or learned relation",
    "table3": "Table 3: linear or hyper-complex head",
    "fig5": "Fig. 5: hidden size V",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One method of a table: data set to its cells."""

    name: str
    config: AdapterConfig
    cells: Mapping[str, Sequence[FinishedCell]]


def rows(cells: Sequence[FinishedCell], table: str) -> list[Row]:
    """The rows of a table that have cells, in its order."""
    datasets = sorted({one.dataset for one in cells})
    found = []
    for name, config in TABLES[table].items():
        of = {one: chosen(cells, config.name, one, config.width) for one in datasets}
        if any(of.values()):
            found.append(Row(name, config, {one: some for one, some in of.items() if some}))
    return found


def write_tables(cells: Sequence[FinishedCell], note: str, folder: Path) -> Path:
    """Write what the finished cells allow: one CSV, `methods.md`, and two plots.

    Args:
        cells: of one setting.
        note: how they were made, in Markdown.
        folder: made if missing; files of an earlier call are replaced.

    Returns:
        The Markdown page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(cells, folder / "methods.csv")
    parts = [note, _baselines(cells)]
    for table, title in TITLES.items():
        found = rows(cells, table)
        if len(found) > 1:
            parts += [f"## {title}", *(_table(found, measure) for measure in MEASURES)]
    parts.append(_tests(cells))
    for name, figure in (("methods.png", _bars(cells)), ("fig5.png", _lines(cells))):
        with atomic_path(folder / name) as path:
            figure.savefig(path, dpi=130)
    with atomic_path(folder / "methods.md") as path:
        path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return folder / "methods.md"


def _write_csv(cells: Sequence[FinishedCell], target: Path) -> None:
    """Every number of every cell, one a line."""
    with atomic_path(target) as path, path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["dataset", "method", "width", "seed", "case", "structure", "measure",
                         "dice"])  # fmt: skip
        for one in cells:
            for case, structures in one.dice.items():
                for structure, measures in structures.items():
                    for measure, dice in measures.items():
                        writer.writerow([one.dataset, one.method, one.width, one.seed, case,
                                         structure, measure, f"{dice:.6f}"])  # fmt: skip


def _baselines(cells: Sequence[FinishedCell]) -> str:
    """The ellipse in the same boxes, which no training changes."""
    lines = ["| ellipse in the box | jittered | tight |", "|---|---|---|"]
    for dataset in sorted({one.dataset for one in cells}):
        of = [one for one in cells if one.dataset == dataset][:1]
        figures = [score(of, measure) for measure in ("ellipse_jitter", "ellipse")]
        lines.append(f"| {dataset} | " + " | ".join(f"{one.mean:.4f}" for one in figures) + " |")
    return "\n".join(lines)


def _table(found: Sequence[Row], measure: str) -> str:
    """Methods by data sets: mean ± sd over cases (sd over seeds)."""
    datasets = sorted({dataset for row in found for dataset in row.cells})
    heads = ["method", "parameters", *datasets, "s a step (CPU s)", "peak MiB"]
    lines = [f"**{MEASURES[measure]}**", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in found:
        figures = [_figure(row.cells.get(one, ()), measure) for one in datasets]
        every = [one for some in row.cells.values() for one in some]
        cost = [_seconds(every), _median_text([one.peak_mib for one in every], ".0f")]
        cells = [row.name, f"{every[0].parameters:,}", *figures, *cost]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _figure(cells: Sequence[FinishedCell], measure: str) -> str:
    if not cells:
        return "-"
    found = score(cells, measure)
    return f"{found.mean:.4f} ± {found.sd_cases:.4f} ({found.sd_seeds:.4f}, n = {found.seeds})"


def _seconds(cells: Sequence[FinishedCell]) -> str:
    wall = _median_text([one.seconds_per_step for one in cells], ".2f")
    return f"{wall} ({_median_text([one.cpu_seconds_per_step for one in cells], '.2f')})"


def _median_text(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return format(float(np.median(known)), form) if known else "-"


def _tests(cells: Sequence[FinishedCell]) -> str:
    """Each orchestrated method against its plain one, on each data set and on all."""
    heads = "| data | measure | method | against | difference (95 % interval) | p | seeds won |"
    lines = [
        "## Does orchestration help?",
        "Difference of per-case 3D Dice, each case averaged over its structures and seeds; "
        "bootstrap interval over cases; two-sided Wilcoxon signed-rank test over cases, and in "
        "brackets the smallest p that so few cases can give. Seeds won: seeds whose mean over "
        "cases is higher.",
        "\n".join([heads, "|---" * 7 + "|", *_test_lines(cells)]),
    ]
    return "\n\n".join(lines)


def _test_lines(cells: Sequence[FinishedCell]) -> list[str]:
    lines = []
    datasets = sorted({one.dataset for one in cells})
    groups = [(one, one) for one in datasets] + [("all", None)] * (len(datasets) > 1)
    for name, dataset in groups:
        for measure in MEASURES:
            for ours, plain in PAIRS:
                width = AdapterConfig.named(ours).width
                sides = [chosen(cells, one, dataset, width) for one in (ours, plain)]
                if all(sides):
                    test = compare(sides[0], sides[1], measure)
                    lines.append(_test_line((name, measure, ours, plain), test))
    return lines


def _test_line(what: tuple[str, str, str, str], test: PairedTest) -> str:
    figures = (
        f"{test.difference:+.4f} ({test.low:+.4f} to {test.high:+.4f})",
        f"{test.p:.3f} ({test.smallest_p:.3f}, {test.cases} cases)",
        f"{test.won_seeds} of {test.seeds}",
    )
    return f"| {' | '.join((*what, *figures))} |"


def _bars(cells: Sequence[FinishedCell]) -> Figure:
    """Table 4: a group of bars for each data set."""
    found, datasets = rows(cells, "table4"), sorted({one.dataset for one in cells})
    figure = Figure(figsize=(3 + 3.2 * len(datasets), 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(len(found), 1)
    for rank, row in enumerate(found):
        at = [index + rank * width - 0.4 for index, one in enumerate(datasets) if one in row.cells]
        figures = [score(row.cells[one], "box_jitter") for one in datasets if one in row.cells]
        heights, errors = [one.mean for one in figures], [one.sd_cases for one in figures]
        axes.bar(at, heights, width * 0.9, yerr=errors, label=row.name, align="edge")
    axes.set_xticks(range(len(datasets)), datasets)
    axes.set_ylim(0, 1)
    axes.set_ylabel("3D Dice per case (mean, sd)")
    axes.set_title(MEASURES["box_jitter"], loc="left", fontsize=10)
    figure.legend(ncols=3, fontsize=8, loc="outside lower center", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _lines(cells: Sequence[FinishedCell]) -> Figure:
    """Fig. 5: Dice against V, plain and orchestrated."""
    datasets = sorted({one.dataset for one in cells})
    figure = Figure(figsize=(4.2 * len(datasets), 3.6), layout="constrained")
    panels = figure.subplots(1, len(datasets), squeeze=False)[0]
    for axes, dataset in zip(panels, datasets, strict=True):
        for method in ("adaptformer", "adaptformer+cobot"):
            known = [one for one in WIDTHS if chosen(cells, method, dataset, one)]
            of = [score(chosen(cells, method, dataset, one), "box_jitter") for one in known]
            axes.errorbar(
                known, [one.mean for one in of], [one.sd_seeds for one in of],
                marker="o", capsize=3, label=method,
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xticks(WIDTHS, [str(one) for one in WIDTHS])
        axes.set_xlabel("hidden size V")
        axes.set_ylabel("3D Dice (mean, sd over seeds)")
        axes.set_title(dataset, loc="left", fontsize=10)
        axes.legend(fontsize=8, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
