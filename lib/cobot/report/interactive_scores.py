"""The annotator's effort as tables and a curve: Dice against prompts."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cobot.atomic import atomic_path
from cobot.training.evaluate_interactive import TARGETS, Effort

TITLES: Mapping[str, str] = {
    "2d": "2D, slice by slice",
    "2d_filled": "2D, filled between",
    "3d": "3D, carried on",
    "ellipse": "ellipse in each box",
    "ellipse_filled": "ellipses, filled between",
    "outline_filled": "outlines by hand, filled between",
}
COLOURS: Mapping[str, str] = {
    "2d": "#0072B2",
    "2d_filled": "#009E73",
    "3d": "#D55E00",
    "ellipse": "#999999",
    "ellipse_filled": "#555555",
    "outline_filled": "#CC79A7",
}
DASHES = ("-", "--", ":")
"""Of the first, second and third model; baselines have points."""


@dataclass(frozen=True, slots=True)
class MeasuredEffort:
    """An effort and the model it was made with; empty for what needs none."""

    model: str
    effort: Effort

    @property
    def way(self) -> tuple[str, str]:
        """Model and tool."""
        return self.model, self.effort.tool


@dataclass(frozen=True, slots=True)
class TargetSummary:
    """What a target has cost, over volumes (a structure of a case is one).

    Attributes:
        reached: volumes in which it was met within the cap.
        volumes: of all.
        mean_prompts: where it was not met, the cap counts.
        mean_waited_s: in the volumes where it was met; None if in none.
    """

    reached: int
    volumes: int
    mean_prompts: float
    mean_waited_s: float | None


@dataclass(frozen=True, slots=True)
class WaySummary:
    """One model and tool over all volumes.

    Attributes:
        targets: target to its cost.
        curve: mean Dice after 1, 2, ... prompts, up to the cap.
    """

    targets: Mapping[float, TargetSummary]
    curve: Sequence[float]


def summarise_efforts(
    measured: Sequence[MeasuredEffort], cap: int
) -> dict[tuple[str, str], WaySummary]:
    """Model and tool to what it took, in the order of first appearance."""
    ways = dict.fromkeys(one.way for one in measured)
    return {way: _way([one.effort for one in measured if one.way == way], cap) for way in ways}


def write_efforts(
    measured: Sequence[MeasuredEffort], setting: Mapping[str, object], cap: int, folder: Path
) -> None:
    """Write curves.csv, per_volume.csv, summary.json and curves.png, each whole or not at all.

    Args:
        measured: every volume, model and tool.
        setting: what was measured, and how.
        cap: prompts a volume, at most.
        folder: made if missing; files of an earlier run are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(
        folder / "curves.csv",
        ("model", "tool", "case", "structure", "prompts", "dice", "waited_s"),
        [
            (*_names(one), number, f"{step.dice:.6f}", f"{step.waited_s:.3f}")
            for one in measured
            for number, step in enumerate(one.effort.steps, start=1)
        ],
    )
    _write_csv(
        folder / "per_volume.csv",
        ("model", "tool", "case", "structure", "target", "prompts", "waited_s", "last_dice"),
        [(*_names(one), *_target_line(one.effort, to, cap)) for one in measured for to in TARGETS],
    )
    table = summarise_efforts(measured, cap)
    ways = [
        {
            "model": model,
            "tool": tool,
            "targets": {f"{target:.2f}": asdict(one) for target, one in row.targets.items()},
            "mean_dice_after": [round(value, 6) for value in row.curve],
        }
        for (model, tool), row in table.items()
    ]
    with atomic_path(folder / "summary.json") as part:
        part.write_text(json.dumps({"setting": dict(setting), "ways": ways}, indent=2) + "\n")
    with atomic_path(folder / "curves.png") as part:
        _plot(table, f"{setting['data']}: {len(measured) // len(table)} volumes").savefig(part)


def effort_table(table: Mapping[tuple[str, str], WaySummary]) -> str:
    """Markdown: mean prompts (volumes that got there), and seconds waited, for each target."""
    heads = ["model", "tool"]
    for target in TARGETS:
        heads += [f"prompts to {target:.2f} (reached)", "waited s"]
    heads += ["Dice after 1", "after 5", "after 10"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (model, tool), row in table.items():
        cells = [model or "none", TITLES.get(tool, tool)]
        for one in row.targets.values():
            waited = "-" if one.mean_waited_s is None else f"{one.mean_waited_s:.1f}"
            cells += [f"{one.mean_prompts:.1f} ({one.reached}/{one.volumes})", waited]
        cells += [f"{row.curve[min(after, len(row.curve)) - 1]:.3f}" for after in (1, 5, 10)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _way(efforts: Sequence[Effort], cap: int) -> WaySummary:
    after = range(1, cap + 1)
    return WaySummary(
        targets={target: _target(efforts, target, cap) for target in TARGETS},
        curve=[float(np.mean([one.dice_after(n) for one in efforts])) for n in after],
    )


def _target(efforts: Sequence[Effort], target: float, cap: int) -> TargetSummary:
    prompts = [one.prompts_to(target) for one in efforts]
    waited = [one.waited_to(target) for one in efforts]
    known = [seconds for seconds in waited if seconds is not None]
    return TargetSummary(
        reached=len(known),
        volumes=len(efforts),
        mean_prompts=float(np.mean([cap if count is None else count for count in prompts])),
        mean_waited_s=float(np.mean(known)) if known else None,
    )


def _target_line(effort: Effort, target: float, cap: int) -> tuple[str, ...]:
    """Target, prompts (empty where it was not met), seconds, and the last Dice."""
    prompts, waited = effort.prompts_to(target), effort.waited_to(target)
    return (
        f"{target:.2f}",
        "" if prompts is None else str(prompts),
        "" if waited is None else f"{waited:.3f}",
        f"{effort.dice_after(cap):.6f}",
    )


def _names(one: MeasuredEffort) -> tuple[str, str, str, str]:
    return one.model or "none", one.effort.tool, one.effort.case, one.effort.structure


def _write_csv(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(head)
        writer.writerows(rows)


def _plot(table: Mapping[tuple[str, str], WaySummary], title: str) -> Figure:
    figure = Figure(figsize=(8.4, 4.8), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    models = [model for model in dict.fromkeys(model for model, _ in table) if model]
    for (model, tool), row in table.items():
        dash = DASHES[models.index(model) % len(DASHES)] if model else (0, (1, 1.5))
        name = TITLES.get(tool, tool) + (f" ({model})" if model else "")
        after = np.arange(1, len(row.curve) + 1)
        colour = COLOURS.get(tool, "#000000")
        axes.plot(after, row.curve, linestyle=dash, color=colour, label=name, linewidth=2)
    for target in TARGETS:
        axes.axhline(target, color="#cccccc", linewidth=0.8, zorder=0)
    axes.set_ylim(0, 1)
    axes.set_xlabel("prompts given to a volume (boxes and clicks)")
    axes.set_ylabel("mean 3D Dice")
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    return figure
