"""Segmentation without a prompt, measured: 3D Dice of each case and organ, by step and seed.

`python3 scripts/bench_auto.py --data FOLDER --labels 1=liver,... --split FILE --name chaos_mr`
trains an adapter once (or takes `--adapter`), learns label prompts with each seed, and measures on
the validation cases: labels alone, + 3D consistency, + boxes asked again, + propagation from the
surest slice; beside them, without a model, the mean box of the training cases filled with an
ellipsoid. Finished cells are kept under `--out` and not repeated; `--table` writes Markdown and
JSON of all that are there.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import torch
from cobot.adapters.checkpoint import AdapterFile
from cobot.adapters.choice import open_adapter
from cobot.adapters.config import AdapterConfig
from cobot.atomic import atomic_path
from cobot.auto.recipe import AutoRecipe
from cobot.auto.segment import AutoPlan, segment_auto
from cobot.auto.together import together_or_none
from cobot.auto.train import AutoProgress, FrozenModel, case_dice, learn_label_prompts
from cobot.sam.embeddings import EmbeddingService
from cobot.sam.segmenter import SegmenterOptions
from cobot.sam.weights import load_sam
from cobot.training.corrections import Correction, find_corrections
from cobot.training.evaluate_propagation import VolumeCase, task_case
from cobot.training.hardware import Hardware
from cobot.training.recipe import Recipe
from cobot.training.request import TrainingRequest
from cobot.training.task import TrainingTask, parse_labels
from cobot.training.train import train_blind
from cobot.volume import LabelMap

STEPS: Mapping[str, AutoPlan] = {
    "labels alone": AutoPlan(consistency=None, second_pass="none"),
    "+ consistency": AutoPlan(second_pass="none"),
    "+ boxes again": AutoPlan(second_pass="boxes"),
    "+ propagation": AutoPlan(second_pass="propagation"),
}
BASELINE = "mean box, ellipsoid"


def main() -> None:
    """Fill the missing cells, then write the table."""
    options = read_options()
    torch.set_num_threads(options.threads)
    cells = options.out / "cells"
    cells.mkdir(parents=True, exist_ok=True)
    if not options.table:
        fill(options, cells)
    write_tables(cells, options.docs)


def read_options() -> argparse.Namespace:
    """What the user wants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--validation-data", type=Path, help="if it is another folder")
    parser.add_argument("--name", default="own", help="of the data set, in the table")
    parser.add_argument("--labels", default="", help="1=liver,2=spleen")
    parser.add_argument("--split", type=Path, help="JSON of train and validation, or a manifest")
    parser.add_argument("--train-cases", type=int, default=0, help="drawn with seed 0; 0: all")
    parser.add_argument("--validation-cases", type=int, default=0, help="the same")
    parser.add_argument("--axis", default="acquired")
    parser.add_argument("--window", default="auto")
    parser.add_argument("--base", default="tiny")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--adapter", type=Path, help="a folder; else one is trained here")
    parser.add_argument("--method", default="adaptformer+cobot", help="freeze: the base alone")
    parser.add_argument("--epochs", type=int, default=2, help="of the adapter")
    parser.add_argument("--adapter-slices", type=int, default=0, help="it learns from; 0: all")
    parser.add_argument("--set", default="{}", help="JSON of changes to the label prompts' recipe")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="fp32", help="of the encoder: fp32 or bf16")
    parser.add_argument("--out", type=Path, default=Path("out/auto"))
    parser.add_argument("--docs", type=Path, default=Path("docs/results/auto"))
    parser.add_argument("--table", action="store_true", help="only write the table again")
    return parser.parse_args()


def fill(options: argparse.Namespace, cells: Path) -> None:
    """Learn and measure every seed that is not finished."""
    train, validation = sides(options)
    task = TrainingTask(options.name, parse_labels(options.labels), cut=options.axis)
    task = task if options.window == "auto" else task.shown_in(options.window)
    recipe = AutoRecipe.changed(json.loads(options.set))
    file = adapter(options, task, recipe, (train, validation))
    base = load_sam(options.base, options.weights)
    model = FrozenModel.of(base, file, "cpu", SegmenterOptions(precision=options.precision))
    for seed in range(options.seeds):
        identity = {
            "data": options.name,
            "train": [one.case for one in train],
            "validation": [one.case for one in validation],
            "task": task.to_dict(),
            "recipe": recipe.to_dict(),
            "base": [options.base, base.sha256],
            "adapter": model.segmenter.adapter_hash,
            "method": method_name(options, recipe),
            "precision": options.precision,
            "seed": seed,
        }
        path = cells / f"{options.name}-s{seed}-{digest(identity)}.json"
        if not path.exists():
            measured = measure(model, train, validation, task, recipe, seed)
            write(path, {"identity": identity, "date": str(date.today()), **measured})


def method_name(options: argparse.Namespace, recipe: AutoRecipe) -> str:
    """What the table calls the adapter."""
    if options.adapter is not None:
        return str(options.adapter.name)
    return f"{options.method}, labels together" if recipe.together_weight else str(options.method)


def sides(options: argparse.Namespace) -> tuple[list[Correction], list[Correction]]:
    """Training and validation cases: as a split states, or from two folders."""
    found = {one.case: one for one in find_corrections(options.data)}
    if options.split is not None:
        stated = json.loads(options.split.read_text(encoding="utf-8"))
        split = stated.get(options.name, {}).get("split", stated)
        train, validation = (
            [found.get(case) or found[f"image_{case}"] for case in split[side]]
            for side in ("train", "validation")
        )
    else:
        train = list(found.values())
        validation = list(find_corrections(options.validation_data))
    return drawn(train, options.train_cases), drawn(validation, options.validation_cases)


def drawn(cases: Sequence[Correction], count: int) -> list[Correction]:
    """So many of them, always the same ones."""
    if not 0 < count < len(cases):
        return list(cases)
    kept = np.random.default_rng(0).choice(len(cases), count, replace=False)
    return [cases[index] for index in sorted(kept.tolist())]


def adapter(
    options: argparse.Namespace,
    task: TrainingTask,
    recipe: AutoRecipe,
    cases: tuple[Sequence[Correction], Sequence[Correction]],
) -> AdapterFile | None:
    """The adapter that label prompts are learnt on: given, trained once and kept, or none."""
    if options.adapter is not None:
        return open_adapter(options.adapter)
    if options.method == "freeze":
        return None
    train, validation = cases
    folder = linked(options.out / f"{options.name}-cases", [*train, *validation])
    split = options.out / f"{options.name}-split.json"
    names = {"train": train, "validation": validation}
    write(split, {side: [one.case for one in cases] for side, cases in names.items()})
    request = TrainingRequest(
        data=folder,
        task=task,
        store=options.out / f"{options.name}-store",
        adapter=AdapterConfig.named(options.method),
        recipe=Recipe.named("default", {"epochs": options.epochs, "patience": 0}),
        base=options.base,
        weights=options.weights,
        split=split,
        hardware=Hardware(device="cpu", precision=options.precision),
    )
    began = time.monotonic()

    def report(now: object) -> None:
        step = getattr(now, "step", 0)
        if step % 20 == 0:
            print(f"adapter: {now} after {time.monotonic() - began:.0f} s", flush=True)

    # A finished run only reads its checkpoint.
    return train_blind(request, report, options.adapter_slices, together_or_none(recipe)).file


def linked(folder: Path, cases: Sequence[Correction]) -> Path:
    """One folder with the cases of both sides."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in cases:
        for path in (one.image, one.corrected):
            link = folder / path.name
            if not link.exists():
                link.symlink_to(path.resolve())
    return folder


def measure(
    model: FrozenModel,
    train: Sequence[Correction],
    validation: Sequence[Correction],
    task: TrainingTask,
    recipe: AutoRecipe,
    seed: int,
) -> dict[str, object]:
    """Step to case to organ to 3D Dice, and seconds."""
    began = time.monotonic()

    def report(now: AutoProgress) -> None:
        if now.stage != "learn" or now.done % 50 == 0:
            print(f"seed {seed}: {now} after {time.monotonic() - began:.0f} s", flush=True)

    prompts = learn_label_prompts(model, train, task, recipe, seed, report)
    learnt_s = time.monotonic() - began
    extents = list(organ_extents(task_case(one, task) for one in train))
    dice: dict[str, dict[str, dict[str, float]]] = {step: {} for step in (*STEPS, BASELINE)}
    seconds: dict[str, list[float]] = {step: [] for step in STEPS}
    for one in validation:
        case = task_case(one, task)
        kept = EmbeddingService(2**30)
        for step, plan in STEPS.items():
            started = time.monotonic()
            shared = AutoPlan(plan.consistency, plan.second_pass, embeddings=kept)
            found = segment_auto(case.volume, model.segmenter, prompts, plan=shared)
            seconds[step].append(time.monotonic() - started)
            dice[step][case.name] = case_dice(case, found.label_map)
            print(f"seed {seed}: {case.name} {step} {dice[step][case.name]}", flush=True)
        dice[BASELINE][case.name] = case_dice(case, mean_boxes(case, extents))
    return {"dice": dice, "learning_s": learnt_s, "measuring_s": seconds}


def organ_extents(cases: Iterator[VolumeCase]) -> Iterator[dict[str, np.ndarray]]:
    """Of each case, organ to the first and last voxel as shares of the volume, along i j k."""
    for case in cases:
        extents = {}
        for value, name in case.labels.items():
            voxels = np.argwhere(case.truth == value)
            if len(voxels):
                corners = np.stack([voxels.min(axis=0), voxels.max(axis=0) + 1])
                extents[name] = corners / np.array(case.truth.shape)
        yield extents


def mean_boxes(case: VolumeCase, extents: Sequence[Mapping[str, np.ndarray]]) -> LabelMap:
    """Each organ where it lies on average, as the ellipsoid that fills its mean box.

    Volumes are stored in one orientation within each of the data sets measured here.
    """
    voxels = np.zeros(case.truth.shape, np.uint16)
    places = np.stack(np.meshgrid(*map(np.arange, voxels.shape), indexing="ij"), axis=-1) + 0.5
    for value, name in case.labels.items():
        known = [one[name] for one in extents if name in one]
        if known:
            first, last = np.mean(known, axis=0) * np.array(voxels.shape)
            offset = (places - (first + last) / 2) / np.maximum((last - first) / 2, 0.5)
            voxels[(offset**2).sum(axis=-1) <= 1] = value
    return LabelMap(voxels, case.volume.affine, dict(case.labels))


def write_tables(cells: Path, docs: Path) -> None:
    """Markdown and JSON of every finished cell."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(cells.glob("*.json"))]
    if not found:
        return
    docs.mkdir(parents=True, exist_ok=True)
    lines = ["# Segmentation without a prompt: 3D Dice", "", *NOTES]
    for name in sorted({cell["identity"]["data"] for cell in found}):
        lines += table(name, [cell for cell in found if cell["identity"]["data"] == name])
    write(docs / "auto.json", found)
    with atomic_path(docs / "auto.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


NOTES = (
    "Mean over the validation cases that have the organ and over the seeds of the label prompts;",
    "± is the standard deviation over cases of the mean over seeds. `scripts/bench_auto.py`.",
    "",
)


def table(name: str, cells: Sequence[Mapping[str, object]]) -> list[str]:
    """One data set: organs in rows, steps in columns."""
    identity: Mapping[str, list[str]] = cells[0]["identity"]  # type: ignore[assignment]
    dice = [dict(cell["dice"]) for cell in cells]  # type: ignore[call-overload]
    steps = list(dice[0])
    organs = sorted({organ for case in dice[0][steps[0]].values() for organ in case})
    seeds = sorted(str(cell["identity"]["seed"]) for cell in cells)  # type: ignore[index]
    lines = [
        f"## {name}",
        "",
        f"{len(identity['train'])} cases to learn from, {len(identity['validation'])} measured, "
        f"seeds {', '.join(seeds)}; adapter {identity['method']}, base {identity['base'][0]} "
        f"`{identity['base'][1][:12]}`, {identity['precision']}; {cells[0]['date']}.",
        "",
        f"| organ | cases | {' | '.join(steps)} |",
        f"|---|---|{'---|' * len(steps)}",
    ]
    for organ in organs:
        count = sum(organ in case for case in dice[0][steps[0]].values())
        values = " | ".join(spread(by_case(dice, step, organ)) for step in steps)
        lines.append(f"| {organ} | {count} | {values} |")
    means = " | ".join(spread(by_case(dice, step, None)) for step in steps)
    return [*lines, f"| mean over cases | {len(identity['validation'])} | {means} |", ""]


def by_case(
    dice: Sequence[Mapping[str, Mapping[str, Mapping[str, float]]]], step: str, organ: str | None
) -> list[float]:
    """Each case's Dice, the mean over seeds; of one organ, or the mean over those it has."""
    found: dict[str, list[float]] = {}
    for one in dice:
        for case, organs in one[step].items():
            if organ is None and organs:
                found.setdefault(case, []).append(float(np.mean(list(organs.values()))))
            elif organ in organs:
                found.setdefault(case, []).append(organs[str(organ)])
    return [float(np.mean(values)) for values in found.values()]


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}" if values else "-"


def digest(identity: Mapping[str, object]) -> str:
    """A short name that differs for different identities."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def write(path: Path, content: object) -> None:
    """JSON, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
