"""The paper's tables on your data: methods x seeds, trained, measured and compared.

`python3 scripts/bench_methods.py --data FOLDER --base tiny --seeds 3 --out out/methods`

Each cell's numbers are kept as one JSON file, so the command goes on where it was interrupted, and
a second data set joins the tables of the same `--out`. See lib/decisions/0012-methods.md.
"""

import argparse
import json
import multiprocessing
import os
import shlex
import sys
import time
from datetime import date
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from cobot.adapters.config import AdapterConfig
from cobot.cli.train import read_changes
from cobot.datasets.pairs import image_label_pairs
from cobot.errors import CobotError, ConfigError
from cobot.report.method_scores import read_cells
from cobot.report.method_tables import TABLES, write_tables
from cobot.sam.encoder_plan import Precision
from cobot.sam.weights import load_sam
from cobot.training.corrections import find_corrections
from cobot.training.data_labels import stated_labels, write_split
from cobot.training.hardware import Hardware
from cobot.training.method_cell import MethodCell, data_sha256, run_cell
from cobot.training.recipe import Recipe
from cobot.training.task import TrainingTask, parse_labels


def main() -> int:
    """Run what is missing, then write the tables of everything that is finished."""
    options = read_options()
    try:
        return run(options)
    except CobotError as error:
        print(f"bench_methods: {error}", file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    """Return the exit status."""
    cells = plan(options)
    options.out.mkdir(parents=True, exist_ok=True)
    missing = [one for one in cells if not (options.out / "cells" / f"{one.name}.json").exists()]
    print(f"{len(cells)} cells, {len(cells) - len(missing)} finished before", flush=True)
    work = [(cell, options.out, options.jobs) for cell in missing]
    # A new process for each cell: its memory is its own, and a crash is not the next one's.
    with multiprocessing.get_context("spawn").Pool(options.jobs, maxtasksperchild=1) as pool:
        began = time.monotonic()
        for count, line in enumerate(pool.imap_unordered(work_on, work, chunksize=1), 1):
            left_s = (time.monotonic() - began) / count * (len(work) - count)
            print(f"{count}/{len(work)} {line}, {left_s / 60:.0f} min left", flush=True)
    finished = read_cells(options.out / "cells", cells[0].identity)
    print(write_tables(finished, note(options, cells[0]), options.out))
    return 0


def work_on(work: tuple[MethodCell, Path, int]) -> str:
    """One cell in a process of its own; what came of it in a line."""
    cell, out, jobs = work
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))
    began = time.monotonic()
    found = json.loads(run_cell(cell, out).read_text(encoding="utf-8"))
    means = [
        np.mean([measures["box_jitter"] for measures in structures.values()])
        for structures in found["dice"].values()
    ]
    return f"{cell.name}: Dice {np.mean(means):.4f} in {time.monotonic() - began:.0f} s"


def plan(options: argparse.Namespace) -> list[MethodCell]:
    """Every cell that the wanted tables need, each once, the quickest question first."""
    data, split = prepared(options)
    stated = stated_labels(data, find_corrections(data)[0])
    if not (options.labels or stated):
        raise ConfigError(f"Nobody says what the labels of {data} mean; give --labels 1=liver,...")
    labels = (
        parse_labels(options.labels) if options.labels else dict(stated.labels if stated else {})
    )
    task = TrainingTask(options.name or data.name, labels, cut=options.axis)
    recipe = Recipe.named(options.recipe, read_changes(options.set))
    sums = {
        "data_sha256": data_sha256(data, split),
        "base_sha256": load_sam(options.base, options.weights).sha256,
    }
    return [
        MethodCell(
            data=data, task=task.shown_in(options.window), split=split, base=options.base,
            weights=options.weights, adapter=config, recipe=recipe, seed=seed,
            slices=options.slices, jitter_seed=0, **sums,
            hardware=Hardware(options.device, precision=options.precision),
        )
        for seed in range(options.seeds)
        for config in wanted(options)
        if seed == 0 or config.method != "freeze"
    ]  # fmt: skip


def wanted(options: argparse.Namespace) -> list[AdapterConfig]:
    """The configurations of the wanted tables, or the named methods alone."""
    if options.methods != ["all"]:
        return [AdapterConfig.named(name) for name in options.methods]
    configs: list[AdapterConfig] = []
    for table in options.tables:
        configs += [one for one in TABLES[table].values() if one not in configs]
    return configs


def prepared(options: argparse.Namespace) -> tuple[Path, Path]:
    """The folder to train on, and the file of its split.

    With --validation-data, links to seeded subsets of both folders are put into one.
    """
    if options.validation_data is None:
        if options.split is not None:
            return options.data, options.split
        stated = stated_labels(options.data, find_corrections(options.data)[0])
        if stated is None or stated.split is None:
            raise ConfigError("Give --split FILE.json, or --validation-data FOLDER.")
        return options.data, write_split(
            stated.split, options.out / "data" / f"{options.data.name}.json"
        )
    folder = options.out / "data" / (options.name or options.data.name)
    folder.mkdir(parents=True, exist_ok=True)
    sides = {
        "train": linked(options.data, options.train_cases, folder),
        "validation": linked(options.validation_data, options.validation_cases, folder),
    }
    return folder, write_split(sides, folder.with_suffix(".json"))


def linked(source: Path, count: int, folder: Path) -> list[str]:
    """Link `count` cases of a folder, drawn with seed 0; return their names."""
    pairs = image_label_pairs(source)
    drawn = np.random.default_rng(0).permutation(len(pairs))[: count or len(pairs)]
    for path in [path for index in sorted(drawn.tolist()) for path in pairs[index]]:
        link = folder / path.name
        if link.is_symlink() and link.resolve() != path.resolve():
            # Of an earlier run, on other files of these names.
            link.unlink()
        if not link.is_symlink():
            link.symlink_to(path.resolve())
    return [pairs[index][0].name.removesuffix(".nii.gz") for index in sorted(drawn.tolist())]


def note(options: argparse.Namespace, cell: MethodCell) -> str:
    """How the tables were made."""
    command = shlex.join(["python3", "scripts/bench_methods.py", *sys.argv[1:]])
    return (
        f"# Methods compared\n\n{date.today()}, base `{options.base}` "
        f"(SHA-256 {cell.base_sha256[:12]}…), recipe `{cell.recipe.name}` with "
        f"{cell.recipe.epochs} epochs, the last epoch's weights, precision "
        f"{cell.hardware.precision}. 3D Dice: mean over cases and "
        "seeds of the mean over a case's structures ± sd over cases (sd over seeds). Parameters "
        f"are the adapter's; all methods but freeze also train the mask decoder.\n\n    {command}"
    )


def read_options() -> argparse.Namespace:
    """What the user wants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="image_*/label_* pairs")
    parser.add_argument("--validation-data", type=Path, help="if it lies in another folder")
    parser.add_argument("--train-cases", type=int, default=0, help="so many of --data; 0: all")
    parser.add_argument("--validation-cases", type=int, default=0)
    parser.add_argument("--split", type=Path, help='{"train": [...], "validation": [...]}')
    parser.add_argument("--name", default="", help="of the data set in the tables")
    parser.add_argument("--labels", default="", help="1=liver,2=spleen; else as stated beside")
    parser.add_argument("--axis", default="acquired", help="acquired, axial, i, j, k, ...")
    parser.add_argument("--window", default="auto", help="auto, a preset, or lower,upper")
    parser.add_argument("--base", default="tiny", help="tiny, vit_b, vit_l or vit_h")
    parser.add_argument("--weights", type=Path, help="another file of that base")
    parser.add_argument("--methods", nargs="+", default=["all"], help="all, or names of Table 4")
    parser.add_argument(
        "--tables", nargs="+", default=list(TABLES), choices=list(TABLES), help="of --methods all"
    )
    parser.add_argument("--seeds", type=int, default=3, help="0, 1, 2, ...")
    parser.add_argument("--recipe", default="default", help="default or paper")
    parser.add_argument("--set", nargs="*", default=[], help="settings of it: epochs=2")
    parser.add_argument("--slices", type=int, default=0, help="to learn from, drawn once; 0: all")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--precision", default="auto", choices=get_args(Precision), help="auto: bf16 on CUDA alone"
    )
    parser.add_argument("--jobs", type=int, default=1, help="cells at once, each in a process")
    parser.add_argument("--out", type=Path, default=Path("out/methods"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
