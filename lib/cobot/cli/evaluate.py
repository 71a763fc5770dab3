"""`cobot evaluate`: honest numbers on your own labelled data."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Measure a model on labelled volumes.", no_args_is_help=True)


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
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...")] = "cpu",
    seed: Annotated[int, typer.Option(help="of the box jitter")] = 0,
    limit: Annotated[int | None, typer.Option(help="only the first cases")] = None,
) -> None:
    """Boxes, one click and corrective clicks, per structure and case, beside trivial baselines."""
    import numpy as np
    from rich.console import Console
    from rich.progress import track

    from cobot.datasets.pairs import image_label_pairs
    from cobot.report.prompt_scores import flatten, markdown, summarise, write_scores
    from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
    from cobot.sam.weights import load_sam
    from cobot.training.evaluate_prompts import evaluate_case, read_case

    console = Console()
    segmenter = SliceSegmenter(load_sam(model, weights), device, SegmenterOptions(side_px=side))
    names = _label_names(labels)
    results = {}
    pairs = image_label_pairs(data)[:limit]
    for image, label in track(pairs, description=f"{model} on {data.name}", console=console):
        case = read_case(image, label, names, axis, window)
        results[case.name] = evaluate_case(case, segmenter, np.random.default_rng(seed))
    scores = flatten(results)
    setting = {
        "model": model, "base_sha256": segmenter.base_sha256, "data": data.name, "axis": axis,
        "window": window, "side_px": str(segmenter.side_px), "seed": str(seed),
        "date": date.today().isoformat(), "cases": str(len(pairs)),
    }  # fmt: skip
    write_scores(scores, setting, out)
    console.print(markdown(summarise(scores)), soft_wrap=True)
    console.print(f"per_case.csv, summary.json and summary.png are in {out}")


def _label_names(text: str) -> dict[int, str]:
    from cobot.errors import ConfigError

    try:
        pairs = [part.split("=") for part in text.split(",") if part]
        return {int(value): name for value, name in pairs}
    except ValueError:
        raise ConfigError(
            f"--labels {text!r} cannot be read; write for example 1=liver,4=spleen."
        ) from None
