"""The table of scripts/bench_speed.py."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench_rounds import Row


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    Attributes:
        title: what was measured.
        row: what came of it; None if nothing did.
        goals: each goal in words, and whether it was reached; None if it was not measured.
        most_error: largest relative error that is let pass; None if there is nothing to compare.
        gradients: the results are gradients, whose angle to stock's is a gate.
        differing: pixels that differ between masks which must be equal; None if there are none.
        note: what else there is to say.
    """

    title: str
    row: Row | None = None
    goals: tuple[tuple[str, bool | None], ...] = ()
    most_error: float | None = None
    gradients: bool = False
    differing: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    Attributes:
        lines: the table.
        gates: name, passed (None: not looked at) and detail of each.
        machine: what it was measured on.
    """

    lines: tuple[Line, ...]
    gates: tuple[Mapping[str, object], ...]
    machine: str


TITLES = (
    "item",
    "stock",
    "ours",
    "ratio (quartiles), rounds",
    "peak MB, stock / ours",
    "error",
    "limit of stock's form",
    "goal",
    "note",
)


def to_markdown(report: Report) -> str:
    """Table and gates."""
    rows = [TITLES, ("---",) * len(TITLES), *map(_cells, report.lines)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    gates = "\n".join(
        f"- {_verdict(gate['passed'])}: {gate['name']} ({gate['detail']})" for gate in report.gates
    )
    return f"Measured on: {report.machine}\n\n{table}\n\n{gates}\n"


def summary(line: Line) -> str:
    """What came of a line, while the others are still being measured."""
    if line.row is None:
        return line.note
    cells = dict(zip(TITLES, _cells(line), strict=True))
    told = [cells[name] for name in ("item", "stock", "ours", "ratio (quartiles), rounds", "goal")]
    return " | ".join(text for text in told if text)


def _cells(line: Line) -> tuple[str, ...]:
    goals = "; ".join(f"{text}: {_verdict(met)}" for text, met in line.goals)
    row = line.row
    if row is None:
        return (line.title, *[""] * 6, goals, line.note)
    if math.isnan(row.ours_s):
        return (row.item, *[""] * 4, f"{row.rel_err:.1e}", "", goals, "not timed: wrong")
    left_out = f", {row.disturbed} disturbed" if row.disturbed else ""
    compared = row.stock_s > 0
    return (
        row.item,
        _duration(row.stock_s) if compared else "",
        _duration(row.ours_s),
        f"{row.ratio:.2f} ({row.ratio_p25:.2f} to {row.ratio_p75:.2f}), {row.rounds}{left_out}"
        if compared
        else f"{row.rounds}{left_out}",
        "" if row.peak_mb is None else f"{row.stock_peak_mb:.0f} / {row.peak_mb:.0f}",
        f"{row.rel_err:.1e}" if compared else "",
        "" if row.limit_s is None else _duration(row.limit_s),
        goals,
        line.note,
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _verdict(met: object) -> str:
    return {True: "yes", False: "NO", None: "not measured"}[met]
