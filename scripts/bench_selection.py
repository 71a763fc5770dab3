"""Which case next: simulated annotation, each strategy, several seeds; curves, areas, tables.

`python3 scripts/bench_selection.py --data FOLDER --seeds 5 --out out/selection/NAME`

A strategy chooses cases, their labels appear, a mask decoder learns them on frozen embeddings, and
3D Dice is measured on the validation cases. Every number is kept as one JSON file, so the command
goes on where it was interrupted. See lib/decisions/0014-selection.md.
"""

import argparse
import hashlib
import json
import shlex
import sys
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path

import numpy as np
import torch
from cobot.adapters.config import AdapterConfig
from cobot.cli.train import read_changes
from cobot.datasets.pairs import image_label_pairs
from cobot.errors import CobotError, ConfigError
from cobot.report.selection_curves import Played, write_selection
from cobot.sam.segmenter import SliceSegmenter
from cobot.sam.weights import load_sam
from cobot.selection.choose import STRATEGIES
from cobot.selection.proposals import GridClicks
from cobot.selection.rounds import Round, RoundPlan, means, play
from cobot.selection.score_case import ScoreSettings
from cobot.selection.simulation import (
    SimulatedData,
    SimulatedTraining,
    Simulation,
)
from cobot.training.corrections import Correction, find_corrections
from cobot.training.data_labels import stated_labels
from cobot.training.hardware import Hardware
from cobot.training.recipe import Recipe
from cobot.training.task import TrainingTask, parse_labels


def main() -> int:
    """Play what is missing, then write the tables of what is finished."""
    options = read_options()
    torch.set_num_threads(options.threads)
    try:
        return run(options)
    except CobotError as error:
        print(f"bench_selection: {error}", file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    """Return the exit status; the tables are written anew after every seed."""
    game, setting = prepared(options)
    cases = sorted(game.data.pool)
    plan = RoundPlan(options.start, options.each, min(options.most, len(cases)))
    setting |= {"plan": asdict(plan), "date": str(date.today()), "pool": cases}
    began = time.monotonic()
    base = float(np.mean(list(means(game.dice([], 0)).values())))
    rounds: list[Round] = []
    full: dict[int, float] = {}
    for seed in range(options.seeds):
        full[seed] = float(np.mean(list(means(game.dice(cases, seed)).values())))
        for strategy in options.strategies:
            for one in play(game, cases, strategy, seed, plan):
                rounds.append(one)
                minutes = (time.monotonic() - began) / 60
                print(
                    f"{minutes:.1f} min: {strategy}, seed {seed}, {len(one.labelled)} cases, "
                    f"{one.prompts} prompts: {one.mean:.4f}",
                    flush=True,
                )
        text = write_selection(
            Played(_by_strategy(rounds, options.strategies), base, full, setting), options.out
        )
    print(text)
    return 0


def prepared(options: argparse.Namespace) -> tuple[Simulation, dict[str, object]]:
    """The game, and everything that decides its numbers; results of another game are not read."""
    data = read_data(options)
    loaded = load_sam(options.base, options.weights)
    fabric = Hardware(options.device, precision="fp32").start()
    recipe = Recipe.named("default", read_changes(options.set))
    training = SimulatedTraining(recipe, options.steps)
    settings = ScoreSettings(options.score_slices, GridClicks(across=options.clicks_across))
    setting: dict[str, object] = {
        "data": options.data.name,
        "task": data.task.to_dict(),
        "validation": [one.case for one in data.validation],
        "base": [options.base, loaded.sha256],
        "method": AdapterConfig.named("lightweight").to_dict(),
        "recipe": {**recipe.to_dict(), "epochs": f"{options.steps} steps"},
        "scores": settings.name,
        "command": shlex.join(["python3", "scripts/bench_selection.py", *sys.argv[1:]]),
    }
    decisive = {name: value for name, value in setting.items() if name != "command"}
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]
    game = Simulation(
        data=data,
        base=SliceSegmenter(loaded, fabric.device),
        fabric=fabric,
        training=training,
        folder=options.work / f"{options.name or options.data.name}-{digest}",
        settings=settings,
    )
    return game, setting


def read_data(options: argparse.Namespace) -> SimulatedData:
    """Pool and validation cases: a stated split, or seeded subsets of two folders."""
    found = {one.case: one for one in find_corrections(options.data)}
    stated = stated_labels(options.data, next(iter(found.values())))
    if not (options.labels or stated):
        raise ConfigError(f"Nobody says what the labels of {options.data} mean; give --labels.")
    labels = (
        parse_labels(options.labels) if options.labels else dict(stated.labels if stated else {})
    )
    name = options.name or options.data.name
    task = TrainingTask(name, labels, cut=options.axis).shown_in(options.window)
    if options.validation_data is not None:
        pool = drawn(options.data, options.pool_cases)
        return SimulatedData(
            task, pool, list(drawn(options.validation_data, options.validation_cases).values())
        )
    if stated is None or stated.split is None:
        raise ConfigError("Give --validation-data FOLDER: no split is stated beside the data.")
    sides = {
        side: {_case(one): found[_case(one)] for one in names}
        for side, names in stated.split.items()
    }
    return SimulatedData(task, sides["train"], list(sides["validation"].values()))


def drawn(folder: Path, count: int) -> dict[str, Correction]:
    """So many cases of a folder, drawn with seed 0; 0 takes all."""
    names = [image.name.removesuffix(".nii.gz") for image, _ in image_label_pairs(folder)]
    order = np.random.default_rng(0).permutation(len(names))[: count or len(names)]
    wanted = {names[index] for index in order}
    return {one.case: one for one in find_corrections(folder) if one.case in wanted}


def _case(name: str) -> str:
    return name if name.startswith("image_") else f"image_{name}"


def _by_strategy(rounds: list[Round], strategies: list[str]) -> tuple[Round, ...]:
    return tuple(sorted(rounds, key=lambda one: (strategies.index(one.strategy), one.seed)))


def read_options() -> argparse.Namespace:
    """What the user wants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="image_*/label_* pairs")
    parser.add_argument("--validation-data", type=Path, help="if it lies in another folder")
    parser.add_argument("--pool-cases", type=int, default=0, help="so many of --data; 0: all")
    parser.add_argument("--validation-cases", type=int, default=0)
    parser.add_argument("--name", default="", help="of the data set")
    parser.add_argument("--labels", default="", help="1=liver,2=spleen; else as stated beside")
    parser.add_argument("--axis", default="acquired", help="acquired, axial, i, j, k, ...")
    parser.add_argument("--window", default="auto", help="auto, a preset, or lower,upper")
    parser.add_argument("--base", default="tiny", help="tiny, vit_b, vit_l or vit_h")
    parser.add_argument("--weights", type=Path, help="another file of that base")
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=STRATEGIES)
    parser.add_argument("--seeds", type=int, default=5, help="0, 1, 2, ...")
    parser.add_argument("--start", type=int, default=1, help="cases before the first choice")
    parser.add_argument("--each", type=int, default=2, help="cases chosen in a round")
    parser.add_argument("--most", type=int, default=7, help="labelled cases at the end")
    parser.add_argument("--steps", type=int, default=60, help="of each training, about")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the recipe: rounds=1")
    parser.add_argument("--score-slices", type=int, default=6, help="looked at in each case")
    parser.add_argument("--clicks-across", type=int, default=4, help="grid of proposing clicks")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--work", type=Path, default=Path("out/selection/work"))
    parser.add_argument("--out", type=Path, default=Path("out/selection"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
