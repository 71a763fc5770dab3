"""What strategies of choosing cases are worth: curves, areas, and the comparison with chance."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats
from scipy.integrate import trapezoid

from cobot.atomic import atomic_path
from cobot.selection.rounds import Round

matplotlib.use("Agg")

CHANCE = "random"
GOOD_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Played:
    """All rounds of all strategies and seeds, and what they are measured by.

    Attributes:
        rounds: in the order of their strategies, seeds and counts.
        base: Dice of the model that learnt nothing.
        full: seed to the Dice of the model that learnt every case.
        setting: how it was made.
    """

    rounds: tuple[Round, ...]
    base: float
    full: Mapping[int, float]
    setting: Mapping[str, object]

    @property
    def strategies(self) -> list[str]:
        """Their names, in order."""
        return list(dict.fromkeys(one.strategy for one in self.rounds))

    @property
    def seeds(self) -> list[int]:
        """Those that every strategy has finished."""
        found = [{one.seed for one in self.rounds if one.strategy == s} for s in self.strategies]
        return sorted(set.intersection(*found)) if found else []

    def of(self, strategy: str, seed: int) -> list[Round]:
        """The rounds of one strategy and seed."""
        return [one for one in self.rounds if (one.strategy, one.seed) == (strategy, seed)]


@dataclass(frozen=True, slots=True)
class Worth:
    """What one strategy came to; lists are by seed.

    Attributes:
        by_cases: mean Dice over the number of labelled cases (area under the curve, normalised).
        by_prompts: the same over prompts, where all strategies of a seed have spent as many.
        cases_to_good: labelled cases until 95 % of the full data's Dice; None: not reached.
        cases_to_gain: until 95 % of what full data gains over the base; None: not reached.
        prompts: spent in all rounds.
    """

    by_cases: tuple[float, ...]
    by_prompts: tuple[float, ...]
    cases_to_good: tuple[int | None, ...]
    cases_to_gain: tuple[int | None, ...]
    prompts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A strategy's area minus chance's, paired over seeds.

    Attributes:
        mean: over seeds.
        low: end of the 95 % interval (Student's t over seeds); None with one seed.
        high: the other end.
        better: seeds in which it is higher.
        seeds: in all.
    """

    mean: float
    low: float | None
    high: float | None
    better: int
    seeds: int

    @property
    def is_noise(self) -> bool:
        """Whether the interval holds 0; of one seed, which has none, nothing else can be said."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high


def area(x: Sequence[float], y: Sequence[float], first: float, last: float) -> float:
    """The mean height of a curve between two places, straight between its points.

    >>> area([1.0, 3.0], [0.0, 1.0], 1.0, 3.0), area([1.0, 3.0], [0.0, 1.0], 2.0, 3.0)
    (0.5, 0.75)
    """
    inner = [one for one in x if first < one < last]
    places = np.array([first, *inner, last], np.float64)
    return float(trapezoid(np.interp(places, x, y), places) / (last - first))


def cases_until(rounds: Sequence[Round], target: float) -> int | None:
    """Labelled cases in the first round that reaches a Dice."""
    return next((len(one.labelled) for one in rounds if one.mean >= target), None)


def worth(played: Played, strategy: str) -> Worth:
    """What a strategy came to."""
    paths = {seed: played.of(strategy, seed) for seed in played.seeds}
    spans = {seed: _common_prompts(played, seed) for seed in paths}
    return Worth(
        by_cases=tuple(_over_cases(path) for path in paths.values()),
        by_prompts=tuple(_over_prompts(path, spans[seed]) for seed, path in paths.items()),
        cases_to_good=tuple(
            cases_until(path, GOOD_SHARE * played.full[seed]) for seed, path in paths.items()
        ),
        cases_to_gain=tuple(
            cases_until(path, played.base + GOOD_SHARE * (played.full[seed] - played.base))
            for seed, path in paths.items()
        ),
        prompts=tuple(path[-1].prompts for path in paths.values()),
    )


def difference(values: Sequence[float], chance: Sequence[float]) -> Difference:
    """Values minus chance's, paired."""
    gaps = np.array(values) - np.array(chance)
    mean, better = float(gaps.mean()), int((gaps > 0).sum())
    if len(gaps) < 2:
        return Difference(mean, None, None, better, len(gaps))
    reach = float(stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps)))
    return Difference(mean, mean - reach, mean + reach, better, len(gaps))


def write_selection(played: Played, folder: Path) -> str:
    """Write rounds.csv, summary.json, summary.md and curves.png, each whole or not at all.

    Returns:
        The table, as Markdown.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "rounds.csv"
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        cases = sorted(played.rounds[0].dice)
        writer.writerow(["strategy", "seed", "labelled", "prompts", "dice", *cases, "chosen"])
        for one in played.rounds:
            each = [f"{one.dice[case]:.5f}" for case in cases]
            head = [one.strategy, one.seed, len(one.labelled), one.prompts, f"{one.mean:.5f}"]
            writer.writerow([*head, *each, " ".join(one.labelled)])
    text = table(played)
    with atomic_path(folder / "summary.md") as path:
        path.write_text(text + "\n", encoding="utf-8")
    with atomic_path(folder / "summary.json") as path:
        path.write_text(json.dumps(_content(played), indent=1), encoding="utf-8")
    with atomic_path(folder / "curves.png") as path:
        draw(played).savefig(path, dpi=120)
    return text


def table(played: Played) -> str:
    """The strategies, one a row."""
    full = list(played.full.values())
    lines = [
        f"Dice without learning {played.base:.4f}; with all cases {np.mean(full):.4f} "
        f"(sd over {len(full)} seeds {_sd(full)}).",
        "",
        "| strategy | area over cases | minus random [95 % interval] | seeds better | "
        "area over prompts | cases to 95 % of full | cases to 95 % of the gain | prompts |",
        "|---" * 8 + "|",
    ]
    chance = worth(played, CHANCE) if CHANCE in played.strategies else None
    for strategy in played.strategies:
        one = worth(played, strategy)
        lines.append(f"| {strategy} | {' | '.join(_cells(strategy, one, chance))} |")
    return "\n".join(lines)


def draw(played: Played) -> Figure:
    """Dice against labelled cases and against prompts: mean over seeds, and each seed faintly."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for number, strategy in enumerate(played.strategies):
        paths = [played.of(strategy, seed) for seed in played.seeds]
        colour = f"C{number}"
        for path in paths:
            heights = [one.mean for one in path]
            left.plot([len(one.labelled) for one in path], heights, color=colour, alpha=0.2)
            right.plot([one.prompts for one in path], heights, color=colour, alpha=0.2)
        heights = np.mean([[one.mean for one in path] for path in paths], axis=0)
        counts = [len(one.labelled) for one in paths[0]]
        spent = np.mean([[one.prompts for one in path] for path in paths], axis=0)
        left.plot(counts, heights, color=colour, marker="o", label=strategy)
        right.plot(spent, heights, color=colour, marker="o", label=strategy)
    for axes, name in ((left, "labelled cases"), (right, "prompts spent")):
        axes.axhline(played.base, color="grey", linestyle=":", label="base, nothing learnt")
        mean = float(np.mean(list(played.full.values())))
        axes.axhline(mean, color="black", linestyle="--", label="all cases")
        axes.set_xlabel(name)
        axes.grid(alpha=0.3)
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_ylabel("3D Dice, validation cases")
    left.legend(fontsize=8)
    return figure


def _cells(strategy: str, one: Worth, chance: Worth | None) -> list[str]:
    against = "-"
    better = "-"
    if chance is not None and strategy != CHANCE:
        gap = difference(one.by_cases, chance.by_cases)
        against = f"{gap.mean:+.4f} {_interval(gap)}"
        better = f"{gap.better} of {gap.seeds}"
    return [
        f"{np.mean(one.by_cases):.4f} ± {_sd(one.by_cases)}",
        against,
        better,
        f"{np.mean(one.by_prompts):.4f}",
        _counts(one.cases_to_good),
        _counts(one.cases_to_gain),
        f"{np.mean(one.prompts):.0f}",
    ]


def _interval(gap: Difference) -> str:
    return "[-]" if gap.low is None else f"[{gap.low:+.4f}, {gap.high:+.4f}]"


def _counts(counts: Sequence[int | None]) -> str:
    reached = [one for one in counts if one is not None]
    missed = f", {len(counts) - len(reached)} not reached" if len(reached) < len(counts) else ""
    return (f"{np.mean(reached):.1f}" if reached else "-") + missed


def _sd(values: Sequence[float]) -> str:
    return f"{np.std(values, ddof=1):.4f}" if len(values) > 1 else "-"


def _over_cases(path: Sequence[Round]) -> float:
    counts = [float(len(one.labelled)) for one in path]
    return area(counts, [one.mean for one in path], counts[0], counts[-1])


def _over_prompts(path: Sequence[Round], span: Float[np.ndarray, " 2"]) -> float:
    spent = [float(one.prompts) for one in path]
    return area(spent, [one.mean for one in path], float(span[0]), float(span[1]))


def _common_prompts(played: Played, seed: int) -> Float[np.ndarray, " 2"]:
    """From where on, and until where, every strategy of a seed has a curve."""
    paths = [played.of(strategy, seed) for strategy in played.strategies]
    first = max(path[0].prompts for path in paths)
    return np.array([first, max(first + 1, min(path[-1].prompts for path in paths))], np.float64)


def _content(played: Played) -> dict[str, object]:
    chance = worth(played, CHANCE) if CHANCE in played.strategies else None
    found: dict[str, object] = {}
    for strategy in played.strategies:
        one = worth(played, strategy)
        entry: dict[str, object] = {
            name: list(getattr(one, name))
            for name in ("by_cases", "by_prompts", "cases_to_good", "cases_to_gain", "prompts")
        }
        if chance is not None and strategy != CHANCE:
            gap = difference(one.by_cases, chance.by_cases)
            entry["minus_random"] = {"mean": gap.mean, "low": gap.low, "high": gap.high}
            entry["is_noise"] = gap.is_noise
        found[strategy] = entry
    return {
        "setting": dict(played.setting),
        "base": played.base,
        "full": {str(seed): value for seed, value in played.full.items()},
        "strategies": found,
    }
