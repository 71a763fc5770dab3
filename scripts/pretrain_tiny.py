"""Pretrain the shipped `tiny` weights, from nothing or from a file of them.

    python scripts/pretrain_tiny.py --openkbp DATA/openkbp/train --out runs/tiny

Stop it at any time; the same command goes on from the last checkpoint. `--export` writes the
running average as half-precision safetensors, with how it was made in the file. `--blend` mixes
another file's weights into what is written: a model tuned further gains on what it was shown and
loses elsewhere, and the mean of both keeps most of either (Wortsman et al., "Robust fine-tuning of
zero-shot models", CVPR 2022).
"""

import argparse
import json
from dataclasses import replace
from datetime import date
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from cobot.checksum import file_sha256
from cobot.errors import WeightsError
from cobot.sam.build import build, build_sam, encoder_shape
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
from lightning_fabric import Fabric
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError
from safetensors.torch import load_file
from segment_anything.modeling import Sam

DEFAULT_STAGES = (
    "128:600:8:8e-4:1:drawn:0.75:0.4:60/4/8/28",
    "192:80:8:4e-4:2:drawn:0.65:0.4:60/4/8/28",
    "128:400:8:8e-4:2:drawn:0.65:0.35:70/3/4/23",
    "192:30:8:4e-4:3:drawn:0.6:0.35:70/3/4/23",
    "128:600:8:8e-4:2:drawn:0.7:0.4:45/4/6/45",
    "192:50:8:4e-4:2:drawn:0.65:0.4:48/4/6/42",
    "128:1800:8:8e-4:2:drawn:0.7:0.35:55/3/4/38",
    "192:200:8:4e-4:2:drawn:0.65:0.35:55/3/4/38",
    "128:400:8:8e-4:2:drawn:0.8:0.35:70/1/2/27",
    "192:100:8:4e-4:2:drawn:0.7:0.35:66/1/2/31",
    "128:350:8:8e-4:1:drawn:0.8:0.4:60/1/2/37",
    "256:350:8:6e-4:1:drawn:0.8:0.35:68/1/2/29:0.3",
    "256:300:8:4e-4:2:drawn:0.7:0.35:68/1/2/29:0.3",
    "256:160:8:4e-4:2:drawn:0.75:0.8:45/0/1/54:0.3",
)
"""Stages 7 to 20 of the shipped file's model card, six runs one after the other."""


def main() -> None:
    """Build or read the bank, train to the last step, export."""
    options = read_options()
    torch.set_num_threads(options.threads)
    fabric = start_processes(options)
    torch.manual_seed(options.seed)
    with fabric.rank_zero_first():
        bank = read_or_build_bank(options)
    fabric.print(f"bank: {len(bank)} pictures, SHA-256 {bank.sha256()}")
    config = PretrainConfig(tuple(map(read_stage, options.stages)), seed=options.seed)
    sam = read_tiny(options.start) if options.start else build("tiny")
    other = read_tiny(options.blend) if options.blend else None
    pretrainer = Pretrainer(sam.requires_grad_(True), config, bank, options.out, fabric)
    if pretrainer.resume():
        fabric.print(f"going on from step {pretrainer.step}")
    train(pretrainer, config)
    if options.export and fabric.is_global_zero:
        made_by = {
            "seed": str(options.seed),
            "stages": " ".join(options.stages),
            "processes": str(options.processes),
            "started_from": file_sha256(options.start) if options.start else "random weights",
            "bank_sha256": bank.sha256(),
            "bank_pictures": str(len(bank)),
            "date": date.today().isoformat(),
        }
        shipped = pretrainer.average.cpu()
        if other:
            blend(shipped, other, options.blend_share)
            made_by["blended_with"] = f"{options.blend_share} of {file_sha256(options.blend)}"
        save_half(shipped, options.export, made_by)
        fabric.print(f"wrote {options.export}\n{json.dumps(made_by, indent=2)}")


def read_tiny(file: Path) -> Sam:
    """Weights of tiny, in fp32; position tables of another input side are interpolated.

    Raises:
        WeightsError: the file is missing, damaged, or of another model.
    """
    shape = encoder_shape("tiny")
    try:
        state = {name: value.float() for name, value in load_file(file).items()}
        side_px = state["image_encoder.pos_embed"].shape[1] * shape.patch_size_px
        sam = build_sam(replace(shape, image_size_px=side_px))
        sam.load_state_dict(state)
    except (OSError, SafetensorError, LookupError, RuntimeError) as error:
        raise WeightsError(
            f"{file} does not hold the weights of a tiny; give a .safetensors file that this "
            "script wrote."
        ) from error
    return at_another_side(sam, shape)


@torch.no_grad()
def blend(sam: Sam, other: Sam, share: float) -> None:
    """Move every weight of `sam` by `share` (0 to 1) of the way to that of `other`."""
    for mine, theirs in zip(sam.parameters(), other.parameters(), strict=True):
        mine.lerp_(theirs, share)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--openkbp", type=Path, required=True, help="folder of image_/label_ pairs")
    parser.add_argument("--out", type=Path, required=True, help="bank, checkpoints, curves")
    parser.add_argument("--export", type=Path, help="write the weights here at the end")
    parser.add_argument("--start", type=Path, help="weights of tiny to begin with")
    parser.add_argument("--blend", type=Path, help="weights of tiny to mix into --export")
    parser.add_argument("--blend-share", type=fraction, default=0.5, help="of --blend, 0 to 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-volume", type=int, default=90, help="slices from each CT")
    parser.add_argument("--phantoms", type=int, default=4000, help="slices of phantoms")
    parser.add_argument("--processes", type=int, default=1, help="one a GPU, or a share of the CPU")
    parser.add_argument("--threads", type=int, default=1, help="of each process, on a CPU")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--stages",
        nargs="+",
        default=DEFAULT_STAGES,
        help="side_px:steps[/planned]:batch:learning_rate:rounds:tokens|drawn:boxes:pasting:"
        "organs/superpixels/grey bands/blobs[:freedom]",
    )
    return parser.parse_args()


def fraction(text: str) -> float:
    """A number from 0 to 1, or refuse it."""
    if not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text} must lie between 0 and 1")
    return float(text)


def start_processes(options: argparse.Namespace) -> Fabric:
    """Bring the processes up; returns in each of them."""
    fabric = Fabric(
        accelerator=options.device,
        devices=options.processes,
        strategy="ddp" if options.processes > 1 else "auto",
    )
    fabric.launch()
    return fabric


def read_stage(text: str) -> Stage:
    """Read one stage as `--stages` writes it."""
    side, steps, batch, rate, rounds, prompts, boxes, pasting, layers, *freedom = text.split(":")
    made, _, planned = steps.partition("/")
    return Stage(
        side_px=int(side),
        steps=int(made),
        batch_size=int(batch),
        learning_rate=float(rate),
        rounds=int(rounds),
        draws_prompts=prompts == "drawn",
        planned_steps=int(planned or 0),
        box_probability=float(boxes),
        blob_probability=float(pasting),
        layer_weights=tuple(map(float, layers.split("/"))),
        freedom=float(freedom[0]) if freedom else 1.0,
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
