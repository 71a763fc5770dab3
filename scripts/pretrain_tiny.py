"""Pretrain the shipped `tiny` weights from nothing.

    python scripts/pretrain_tiny.py --openkbp DATA/openkbp/train --out runs/tiny

Stop it at any time; the same command goes on from the last checkpoint. `--export` writes the
running average as half-precision safetensors beside a JSON of how it was made.
"""

import argparse
import json
from dataclasses import replace
from datetime import date
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from cobot.sam.build import build_sam, encoder_shape
from cobot.sam.position_tables import at_another_side
from cobot.sam.weights import save_half
from cobot.training.pretrain import PretrainConfig, Pretrainer, Stage
from cobot.training.pretrain import Progress as StepProgress
from cobot.training.slice_bank import (
    SliceBank,
    build_bank,
    labelled_slices,
    phantom_slices,
)
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

TABLES_AT_PX = 256
"""Position tables are learned at this side, interpolated in training, and cut at the end."""

DEFAULT_STAGES = (
    "128:4000:8:1e-3:1:tokens:0.5",
    "128:750/2200:8:7e-4:4:tokens:0.5",
    "128:250/1200:8:8e-4:3:drawn:0.5",
    "128:1500:8:8e-4:2:drawn:0.8",
    "192:600:8:6e-4:3:drawn:0.8",
)
"""The stages that made the shipped file; the second was cut short when drawing was found,
the third for more organs."""


def main() -> None:
    """Build or read the bank, train to the last step, export."""
    options = read_options()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    bank = read_or_build_bank(options)
    print(f"bank: {len(bank)} pictures, SHA-256 {bank.sha256()}")
    shape = encoder_shape("tiny")
    learned = replace(shape, image_size_px=TABLES_AT_PX)
    config = PretrainConfig(tuple(map(read_stage, options.stages)), seed=options.seed)
    pretrainer = Pretrainer(build_sam(learned).to(options.device), config, bank, options.out)
    if pretrainer.resume():
        print(f"going on from step {pretrainer.step}")
    train(pretrainer, config)
    if options.export:
        made_by = {
            "seed": str(options.seed),
            "stages": " ".join(options.stages),
            "bank_sha256": bank.sha256(),
            "bank_pictures": str(len(bank)),
            "date": date.today().isoformat(),
        }
        save_half(at_another_side(pretrainer.average.cpu(), shape), options.export, made_by)
        print(f"wrote {options.export}\n{json.dumps(made_by, indent=2)}")


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--openkbp", type=Path, required=True, help="folder of image_/label_ pairs")
    parser.add_argument("--out", type=Path, required=True, help="bank, checkpoints, curves")
    parser.add_argument("--export", type=Path, help="write the weights here at the end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-volume", type=int, default=50, help="slices from each CT")
    parser.add_argument("--phantoms", type=int, default=4000, help="slices of phantoms")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--stages",
        nargs="+",
        default=DEFAULT_STAGES,
        help="side_px:steps[/planned]:batch:learning_rate:rounds:tokens|drawn:organs",
    )
    return parser.parse_args()


def read_stage(text: str) -> Stage:
    """Read `side_px:steps[/planned]:batch:learning_rate:rounds:tokens|drawn:organs`."""
    side, steps, batch, rate, rounds, prompts, organs = text.split(":")
    made, _, planned = steps.partition("/")
    return Stage(
        side_px=int(side),
        steps=int(made),
        batch_size=int(batch),
        learning_rate=float(rate),
        rounds=int(rounds),
        draws_prompts=prompts == "drawn",
        planned_steps=int(planned or 0),
        organ_probability=float(organs),
    )


def read_or_build_bank(options: argparse.Namespace) -> SliceBank:
    """The bank of this seed, built once and kept in the run's folder."""
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"bank_{options.seed}.npz"
    if not path.exists():
        rng = np.random.default_rng(options.seed)
        real = labelled_slices(options.openkbp, options.per_volume, rng)
        made = phantom_slices(options.phantoms, rng)
        build_bank(chain(real, made), rng).save(path)
    return SliceBank.load(path)


def train(pretrainer: Pretrainer, config: PretrainConfig) -> None:
    """Run with a bar that shows loss, IoU of the first and last answer, rate and time left."""
    columns = (
        TextColumn("{task.completed}/{task.total}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    smooth: dict[str, float] = {}
    with Progress(*columns) as bar:
        task = bar.add_task("starting", total=config.steps, completed=pretrainer.step)

        def show(now: StepProgress) -> None:
            for name, value in {
                "loss": now.loss,
                "first IoU": now.iou_per_round[0],
                "last IoU": now.iou_per_round[-1],
                "s/step": now.seconds_per_step,
            }.items():
                smooth[name] = 0.98 * smooth.get(name, value) + 0.02 * value
            text = "  ".join(f"{name} {value:.3f}" for name, value in smooth.items())
            bar.update(task, completed=now.step, description=text)
            if now.step % 100 == 0:
                bar.console.print(f"step {now.step}  {text}")

        pretrainer.run(show)


if __name__ == "__main__":
    main()
