"""One box propagated through real volumes, beside the oracle's boxes and the box copied.

`python3 scripts/bench_propagation.py --data FOLDER --labels 1=liver,4=spleen` prints a table;
`--fuse` adds the three axes fused; `--sweep least_likeness ...` also tries other values of a
setting, all else as it is.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from cobot.adapters.choice import open_adapter
from cobot.propagate import DEFAULT_RULE, Seeds, propagate
from cobot.propagate_rule import PropagationRule, mask_iou
from cobot.sam.adapted import swap_adapter
from cobot.sam.device import choose_device
from cobot.sam.segmenter import SliceSegmenter
from cobot.sam.weights import load_sam
from cobot.training.corrections import find_corrections
from cobot.training.data_labels import stated_labels
from cobot.training.evaluate import dice
from cobot.training.evaluate_propagation import (
    VolumeCase,
    compared_dice,
    followed_structures,
    fused_dice,
    propagated_dice,
    task_case,
    without_limits,
)
from cobot.training.task import TrainingTask, parse_labels
from scipy import stats

SWEEPS: Mapping[str, tuple[object, ...]] = {
    "next_prompt": ("box", "box+mask", "box+point"),
    "looks": (1, 2, 3),
    "widening": (0.0, 0.1, 0.2, 0.4),
    "least_predicted_iou": (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    "least_likeness": (0.0, 0.3, 0.4, 0.5, 0.6),
    "least_overlap": (0.0, 0.3, 0.5, 0.6),
    "largest_ratio": (1.5, 2.0, 3.0, 100.0),
    "smallest_share": (0.0, 0.02, 0.1, 0.2),
}


def main() -> None:
    """Print a table of structures, then one of settings."""
    options = read_options()
    torch.set_num_threads(options.threads)
    segmenter = SliceSegmenter(load_sam(options.base, options.weights), choose_device("auto"))
    if options.adapter:
        segmenter = swap_adapter(segmenter, open_adapter(options.adapter))
    cases = list(read_cases(options))
    print(f"{options.base}, adapter {options.adapter}, {options.data}, {len(cases)} cases")
    print(structure_table(cases, segmenter, options.fuse), flush=True)
    if options.signals:
        print(signal_table(cases, segmenter), flush=True)
    for name in options.sweep:
        for value in SWEEPS[name]:
            rule = replace(DEFAULT_RULE, **{name: value})
            began = time.monotonic()
            mean = mean_of_structures(cases, segmenter, rule)
            note = "  <- default" if rule == DEFAULT_RULE else ""
            seconds = time.monotonic() - began
            print(f"{name} {value}: {mean:.4f} ({seconds:.0f} s){note}", flush=True)


def read_options() -> argparse.Namespace:
    """What the user wants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--labels", default="", help="1=liver,2=spleen; else as stated beside")
    parser.add_argument("--cases", default="", help="a JSON split and its side: FILE:train")
    parser.add_argument("--limit", type=int, help="only the first cases")
    parser.add_argument("--axis", default="acquired", help="acquired, axial, i, j, k, ...")
    parser.add_argument("--window", default="auto")
    parser.add_argument("--base", default="tiny")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--signals", action="store_true", help="which signal tells the end")
    parser.add_argument("--fuse", action="store_true", help="also all three axes as one")
    parser.add_argument("--sweep", nargs="*", default=[], choices=list(SWEEPS))
    return parser.parse_args()


def read_cases(options: argparse.Namespace) -> Iterator[VolumeCase]:
    """The wanted cases of the folder."""
    found = find_corrections(options.data)
    stated = stated_labels(options.data, found[0])
    labels = (
        parse_labels(options.labels) if options.labels else dict(stated.labels if stated else {})
    )
    task = TrainingTask("bench", labels, cut=options.axis).shown_in(options.window)
    path, _, side = options.cases.rpartition(":")
    wanted = set(json.loads(Path(path).read_text(encoding="utf-8"))[side]) if path else None
    chosen = [one for one in found if wanted is None or one.case.removeprefix("image_") in wanted]
    return (task_case(one, task) for one in chosen[: options.limit])


def mean_of_structures(
    cases: Sequence[VolumeCase], segmenter: SliceSegmenter, rule: PropagationRule
) -> float:
    """Mean over structures of the mean over cases."""
    found: dict[str, list[float]] = {}
    for case in cases:
        for name, value in propagated_dice(case, segmenter, rule).items():
            found.setdefault(name, []).append(value)
    return float(np.mean([np.mean(values) for values in found.values()]))


def signal_table(cases: Sequence[VolumeCase], segmenter: SliceSegmenter) -> str:
    """How well each signal tells right slices of walks without limits: area under the ROC curve."""
    right: list[bool] = []
    signals: dict[str, list[float]] = {}
    for case in cases:
        for one in followed_structures(case, segmenter):
            seeds = Seeds({one.middle: one.box})
            found = propagate(one.slices, seeds, without_limits(DEFAULT_RULE)).slices
            for index in found.keys() - {one.middle}:
                here = found[index]
                last = found[index - 1 if index > one.middle else index + 1].mask
                truth = one.truth.get(index, np.zeros_like(here.mask))
                right.append(dice(here.mask, truth) > 0.5)
                areas = sorted((int(here.mask.sum()), int(last.sum())))
                for name, value in (
                    ("likeness", here.likeness),
                    ("predicted IoU", here.predicted_iou),
                    ("overlap", mask_iou(here.mask, last)),
                    ("ratio of areas", areas[0] / areas[1]),
                ):
                    signals.setdefault(name, []).append(value)
    lines = [f"{len(right)} slices, {np.mean(right):.0%} right", "| signal | AUC |", "|---|---|"]
    lines += [f"| {name} | {roc_area(values, right):.3f} |" for name, values in signals.items()]
    return "\n".join(lines)


def roc_area(values: Sequence[float], right: Sequence[bool]) -> float:
    """The chance that a right slice has the higher value than a wrong one; ties count half."""
    good = np.array(right)
    ranks = stats.rankdata(values)
    wins = ranks[good].sum() - good.sum() * (good.sum() + 1) / 2
    return float(wins / (good.sum() * (~good).sum()))


def structure_table(
    cases: Sequence[VolumeCase], segmenter: SliceSegmenter, fuse: bool = False
) -> str:
    """Structures by measures, as Markdown: mean over cases."""
    found: dict[str, dict[str, list[float]]] = {}
    for case in cases:
        fused = fused_dice(case, segmenter) if fuse else {}
        for name, measures in compared_dice(case, segmenter).items():
            more = {"three_axes": fused[name]} if fuse else {}
            for measure, value in (measures | more).items():
                found.setdefault(name, {}).setdefault(measure, []).append(value)
    names = ["propagated", "true_ends", "copied", "oracle", "ellipse"] + ["three_axes"] * fuse
    head = "|---" * (len(names) + 3) + "|"
    lines = [f"| structure | cases | {' | '.join(names)} | of the oracle |", head]
    for name, measures in found.items():
        means = [float(np.mean(measures[one])) for one in names]
        cells = " | ".join(f"{mean:.3f}" for mean in means)
        lines.append(
            f"| {name} | {len(measures['oracle'])} | {cells} | {means[0] / means[3]:.0%} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
