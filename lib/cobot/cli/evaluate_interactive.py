"""`cobot evaluate interactive`: what a volume costs an annotator, in prompts and seconds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from cobot.training.evaluate_prompts import PromptedCase


def interactive(
    data: Annotated[Path, typer.Option(help="folder of image_*.nii.gz and label_*.nii.gz pairs")],
    out: Annotated[Path, typer.Option(help="CSV, JSON and plot go here")] = Path("out/interactive"),
    model: Annotated[str, typer.Option(help="tiny, vit_b, vit_l or vit_h")] = "tiny",
    weights: Annotated[Path | None, typer.Option(help="another file of that model")] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="an adapter's folder, or a store with an active one")
    ] = None,
    labels: Annotated[str, typer.Option(help="names: 1=liver,4=spleen; others left out")] = "",
    cases: Annotated[
        str, typer.Option(help="only these: 31,32 (part of image_NAME); else all")
    ] = "",
    first: Annotated[
        Literal["box", "click"], typer.Option(help="what a slice is given before clicks")
    ] = "box",
    cap: Annotated[int, typer.Option(min=1, help="prompts a volume, at most")] = 30,
    axis: Annotated[str, typer.Option(help="cut across i, j, k; auto: coarsest spacing")] = "auto",
    window: Annotated[str, typer.Option(help="auto, a preset, or lower,upper")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    seed: Annotated[int, typer.Option(help="of the jitter of boxes")] = 0,
) -> None:
    """A simulated annotator prompts until Dice 0.80, 0.85 and 0.90, in 2D and in 3D.

    It always goes to the slice that is most wrong: a box (or click) first, then corrective clicks,
    five prompts a slice at most. Beside it: ellipses in the same boxes, and shapes interpolated
    between annotated slices. With --adapter the frozen base is measured too. Seconds are the
    model's, each structure beginning with nothing embedded.
    """
    from datetime import date

    from rich.console import Console
    from rich.progress import track

    from cobot.adapters.choice import open_adapter
    from cobot.cli.evaluate_results import make_results_folder, nothing_measured
    from cobot.report.interactive_scores import (
        MeasuredEffort,
        effort_table,
        summarise_efforts,
        write_efforts,
    )
    from cobot.sam.adapted import swap_adapter
    from cobot.sam.device import choose_device
    from cobot.sam.segmenter import SliceSegmenter
    from cobot.sam.weights import load_sam
    from cobot.training.evaluate_interactive import (
        EffortRule,
        baseline_efforts,
        case_structures,
        model_efforts,
    )

    console = Console()
    files = _chosen(data, cases)
    make_results_folder(out)
    rule = EffortRule(first, cap, seed)
    base = SliceSegmenter(load_sam(model, weights), choose_device(device))
    models = {model: base}
    if adapter is not None:
        file = open_adapter(adapter)
        models = {f"{model} + {file.config.name}": swap_adapter(base, file), **models}
    setting = {
        "models": list(models),
        "base_sha256": base.base_sha256,
        "data": data.name,
        "cases": [image.name for image, _ in files],
        "first": first,
        "cap": cap,
        "seed": seed,
        "axis": axis,
        "window": window,
        "device": str(base.device),
        "precision": base.precision,
        "date": date.today().isoformat(),
    }
    measured = []
    # Written after each case: a stop loses one at most.
    for image, label in track(files, description=f"{model} on {data.name}", console=console):
        case = _read(image, label, (labels, axis, window))
        for structure in case_structures(case, base):
            measured += [MeasuredEffort("", one) for one in baseline_efforts(structure, rule)]
        for name, segmenter in models.items():
            for structure in case_structures(case, segmenter):
                measured += [MeasuredEffort(name, one) for one in model_efforts(structure, rule)]
        if measured:
            write_efforts(measured, setting, cap, out)
    if not measured:
        raise nothing_measured(files, labels)
    console.print(effort_table(summarise_efforts(measured, cap)), soft_wrap=True, markup=False)
    console.print(
        f"Where a target was not met within {cap} prompts, {cap} count; seconds are of volumes "
        f"that met it. curves.csv, per_volume.csv, summary.json and curves.png are in {out}",
        soft_wrap=True,
        markup=False,
    )


def _chosen(data: Path, names: str) -> list[tuple[Path, Path]]:
    from cobot.datasets.pairs import image_label_pairs
    from cobot.errors import ConfigError
    from cobot.measures.mask_pairs import case_name

    pairs = image_label_pairs(data)
    if not names:
        return pairs
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    by_name = {case_name(image): (image, label) for image, label in pairs}
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise ConfigError(
            f"--cases: {data} has no {', '.join(missing)}; it has {', '.join(sorted(by_name)[:8])}."
        )
    return [by_name[name] for name in wanted]


def _read(image: Path, label: Path, how: tuple[str, str, str]) -> "PromptedCase":
    """A case with its labels named by --labels, by the file, or by a description beside it."""
    from cobot.measures.compare import stated_rule
    from cobot.training.evaluate_prompts import CaseOptions, read_case
    from cobot.training.task import parse_labels

    labels, axis, window = how
    names = parse_labels(labels) if labels else stated_rule(label).names
    return read_case(image, label, CaseOptions(names, axis, window))
