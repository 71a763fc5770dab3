"""Finished cells of a comparison of methods, and what is said of them with numbers."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from cobot.errors import ConfigError

RESAMPLES = 10_000
RESAMPLING_SEED = 0


@dataclass(frozen=True, slots=True)
class FinishedCell:
    """One cell's numbers.

    Attributes:
        dataset: its name.
        method: the adapter's name.
        width: V; 0 without an adapter.
        seed: of the training.
        dice: case to structure to measure to 3D Dice.
        parameters: of the adapter, without the mask decoder.
        seconds_per_step: on the wall; None where nothing was trained.
        cpu_seconds_per_step: of the training process's own work.
        peak_mib: the most memory.
        setting: what must be equal within a table.
    """

    dataset: str
    method: str
    width: int
    seed: int
    dice: Mapping[str, Mapping[str, Mapping[str, float]]]
    parameters: int
    seconds_per_step: float | None
    cpu_seconds_per_step: float | None
    peak_mib: float | None
    setting: Mapping[str, Any]

    def case_dice(self, measure: str) -> dict[str, float]:
        """Case to the mean over its structures."""
        return {
            case: float(np.mean([found[measure] for found in structures.values()]))
            for case, structures in self.dice.items()
        }


@dataclass(frozen=True, slots=True)
class MethodScore:
    """A method on a data set.

    Attributes:
        mean: over cases and seeds, of the mean over a case's structures.
        sd_cases: over cases, each averaged over its seeds.
        sd_seeds: of the mean over cases, over seeds; 0 with one seed.
        seeds: how many.
        cases: how many.
    """

    mean: float
    sd_cases: float
    sd_seeds: float
    seeds: int
    cases: int


@dataclass(frozen=True, slots=True)
class PairedTest:
    """One method against another on the same cases.

    Attributes:
        difference: mean over cases of the difference of their means over seeds.
        low: of its bootstrap interval (95 %, percentile, cases drawn with replacement).
        high: of the same.
        p: two-sided Wilcoxon signed-rank test over cases; 1 where all differences are 0.
        smallest_p: what it could be at best with so few cases.
        cases: how many.
        won_seeds: seeds in which the mean over cases is higher.
        seeds: how many both methods have.
    """

    difference: float
    low: float
    high: float
    p: float
    smallest_p: float
    cases: int
    won_seeds: int
    seeds: int


def read_cells(folder: Path, like: Mapping[str, Any]) -> list[FinishedCell]:
    """The finished cells that may stand beside one, in the order of their files' names.

    All are of its setting, and of one name all are of one task and the same data.

    Args:
        folder: one JSON file a cell.
        like: the identity of the cell; of its data set's name only its own task and data count.

    Raises:
        ConfigError: a file is damaged, or another name stands for several tasks or data.
    """
    found, of_name = [], {like["task"]["name"]: _data_of(like)}
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            identity = content["identity"]
            cell, data = _cell(content), _data_of(identity)
            in_setting = identity["setting"] == like["setting"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path} is damaged ({error!r}); remove it, and the command makes it anew."
            ) from error
        if in_setting and of_name.setdefault(cell.dataset, data) == data:
            found.append(cell)
        elif in_setting and cell.dataset != like["task"]["name"]:
            raise ConfigError(
                f"{folder} holds cells of several data or tasks that are all called "
                f"{cell.dataset!r}, such as {path.name}; move one kind away, or use another --name."
            )
    return found


def score(cells: Sequence[FinishedCell], measure: str) -> MethodScore:
    """The cells of one method and data set, one for each seed, as one figure."""
    table = _by_seed_and_case(cells, measure)
    cases = table.mean(axis=0)
    seeds = table.mean(axis=1)
    return MethodScore(
        mean=float(table.mean()),
        sd_cases=_sd(cases),
        sd_seeds=_sd(seeds),
        seeds=len(seeds),
        cases=len(cases),
    )


def compare(
    ours: Sequence[FinishedCell], theirs: Sequence[FinishedCell], measure: str
) -> PairedTest:
    """Test one method against another over the cases of one or several data sets.

    Args:
        ours: of one method; cells of several data sets are pooled.
        theirs: of the other, on the same data sets.
        measure: which Dice.
    """
    differences: list[float] = []
    by_seed: dict[int, list[float]] = {}
    for dataset in sorted({one.dataset for one in ours} & {one.dataset for one in theirs}):
        sides = [
            {one.seed: one for one in side if one.dataset == dataset} for side in (ours, theirs)
        ]
        seeds = sorted(set(sides[0]) & set(sides[1]))
        tables = [_by_seed_and_case([side[seed] for seed in seeds], measure) for side in sides]
        differences += (tables[0] - tables[1]).mean(axis=0).tolist()
        for seed, row in zip(seeds, tables[0] - tables[1], strict=True):
            by_seed.setdefault(seed, []).extend(row.tolist())
    values = np.array(differences)
    rng = np.random.default_rng(RESAMPLING_SEED)
    draws = rng.integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return PairedTest(
        difference=float(values.mean()),
        low=float(low),
        high=float(high),
        p=float(stats.wilcoxon(values).pvalue) if values.any() else 1.0,
        smallest_p=min(1.0, 2.0 ** (1 - len(values))),
        cases=len(values),
        won_seeds=sum(float(np.mean(row)) > 0 for row in by_seed.values()),
        seeds=len(by_seed),
    )


def chosen(
    cells: Iterable[FinishedCell], method: str, dataset: str | None = None, width: int | None = None
) -> list[FinishedCell]:
    """The cells of a method, of one data set or all, of one width or the method's usual one."""
    return [
        one
        for one in cells
        if one.method == method
        and (dataset is None or one.dataset == dataset)
        and (width is None or one.width == width)
    ]


def _data_of(identity: Mapping[str, Any]) -> tuple[str, str]:
    """What was learnt, from what."""
    return identity["data_sha256"], json.dumps(identity["task"], sort_keys=True)


def _by_seed_and_case(cells: Sequence[FinishedCell], measure: str) -> np.ndarray:
    rows = [one.case_dice(measure) for one in sorted(cells, key=lambda one: one.seed)]
    cases = sorted(rows[0])
    return np.array([[row[case] for case in cases] for row in rows])


def _sd(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _cell(content: Mapping[str, Any]) -> FinishedCell:
    identity = content["identity"]
    return FinishedCell(
        dataset=identity["task"]["name"],
        method=content["method"],
        width=identity["adapter"]["width"],
        seed=identity["seed"],
        dice=content["dice"],
        parameters=content["parameters"],
        seconds_per_step=content["seconds_per_step"],
        cpu_seconds_per_step=content["cpu_seconds_per_step"],
        peak_mib=content["peak_mib"],
        setting=identity["setting"],
    )
