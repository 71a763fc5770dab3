"""`cobot evaluate`: honest numbers on your own labelled data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cobot.cli import evaluate_interactive, evaluate_masks

if TYPE_CHECKING:
    from cobot.sam.segmenter import SliceSegmenter
    from cobot.training.evaluate_prompts import CaseOptions

FROZEN = "frozen_base"
"""Folder of the frozen base's figures, within those of its adapter."""

app = typer.Typer(help="Measure a model on labelled volumes.", no_args_is_help=True)
app.command("masks")(evaluate_masks.masks)
app.command("interactive")(evaluate_interactive.interactive)


@app.callback()
def evaluate() -> None:
    """Measure a model on labelled volumes."""


@app.command()
def prompts(
    data: Annotated[Path, typer.Option(help="folder of image_*.nii.gz and label_*.nii.gz pairs")],
    out: Annotated[Path, typer.Option(help="CSV, JSON and plot go here")] = Path("out/prompts"),
    model: Annotated[str, typer.Option(help="tiny, vit_b, vit_l or vit_h")] = "tiny",
    weights: Annotated[Path | None, typer.Option(help="another file of that model")] = None,
    labels: Annotated[str, typer.Option(help="names: 1=liver,4=spleen; others left out")] = "",
    axis: Annotated[str, typer.Option(help="cut across i, j, k; auto: coarsest spacing")] = "auto",
    window: Annotated[str, typer.Option(help="auto, a preset, or lower,upper")] = "auto",
    side: Annotated[int | None, typer.Option(help="input side in px, else the trained")] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="an adapter's folder, or a store with an active one")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    seeds: Annotated[int, typer.Option(min=1, help="draws of the box jitter: 0, 1, 2, ...")] = 3,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first cases")] = None,
) -> None:
    """Boxes, one click and corrective clicks, per structure and case, beside trivial baselines.

    With --adapter the frozen base is measured too, on the same boxes.
    """
    from cobot.adapters.choice import open_adapter
    from cobot.cli.evaluate_results import make_results_folder
    from cobot.datasets.pairs import image_label_pairs
    from cobot.sam.adapted import swap_adapter
    from cobot.sam.device import choose_device
    from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
    from cobot.sam.weights import load_sam
    from cobot.training.evaluate_prompts import CaseOptions
    from cobot.training.task import parse_labels

    options = CaseOptions(parse_labels(labels) if labels else {}, axis, window)
    files = image_label_pairs(data)[:limit]
    make_results_folder(out)
    base = SliceSegmenter(
        load_sam(model, weights), choose_device(device), SegmenterOptions(side_px=side)
    )
    measured = {model: base}
    if adapter is not None:
        make_results_folder(out / FROZEN)
        file = open_adapter(adapter)
        measured = {f"{model} + {file.config.name}": swap_adapter(base, file), **measured}
    for name, segmenter in measured.items():
        folder = out if segmenter is not base or adapter is None else out / FROZEN
        _measure(name, segmenter, PromptRun(files, labels, options, tuple(range(seeds)), folder))


@dataclass(frozen=True, slots=True)
class PromptRun:
    """What is measured on, and where the figures go."""

    files: Sequence[tuple[Path, Path]]
    labels: str
    options: "CaseOptions"
    seeds: tuple[int, ...]
    out: Path

    @property
    def data(self) -> str:
        """The name of the cases' folder."""
        return self.files[0][0].parent.name


def _measure(name: str, segmenter: "SliceSegmenter", run: PromptRun) -> None:
    """Every case of the folder; a table on the screen, CSV, JSON and plot in the run's folder."""
    from rich.console import Console
    from rich.progress import track

    from cobot.cli.evaluate_results import nothing_measured
    from cobot.report.prompt_scores import (
        flatten,
        markdown,
        spread_over_seeds,
        summarise,
        write_scores,
    )
    from cobot.training.evaluate_prompts import evaluate_case, read_case

    console = Console()
    results = {}
    for image, label in track(run.files, description=f"{name} on {run.data}", console=console):
        case = read_case(image, label, run.options)
        results[case.name] = evaluate_case(case, segmenter, run.seeds)
    scores = flatten(results)
    if not scores:
        raise nothing_measured(run.files, run.labels)
    setting = {
        "model": name,
        "base_sha256": segmenter.base_sha256,
        "data": run.data,
        "cases": str(len(run.files)),
        "axis": run.options.axis,
        "window": run.options.window,
        "side_px": str(segmenter.side_px),
        "precision": segmenter.precision,
        "jitter_seeds": ",".join(map(str, run.seeds)),
        "date": date.today().isoformat(),
    }
    write_scores(scores, setting, run.out)
    console.print(markdown(summarise(scores)), soft_wrap=True)
    for measure, sd in spread_over_seeds(scores).items():
        console.print(f"{measure}: sd {sd:.4f} over {len(run.seeds)} seeds of the jitter")
    console.print(f"per_case.csv, summary.json and summary.png are in {run.out}", soft_wrap=True)
