"""`cobot demo`: the main job, on a phantom CT or on the user's own image."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cobot.errors import ConfigError


def demo(
    image: Annotated[
        Path | None,
        typer.Option(help="Your CT or MR (NIfTI, NRRD, MetaImage, DICOM folder); else a phantom."),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(help="LABEL=i0,j0,k0,i1,j1,k1 in voxels; once for each object of --image."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-output"),
    seed: Annotated[int, typer.Option(help="Which phantom patient.", min=0)] = 7,
    window: Annotated[
        str, typer.Option(help="auto, a preset such as abdomen, or lower,upper.")
    ] = "auto",
    model: Annotated[str, typer.Option(help="tiny, vit_b, vit_l or vit_h.")] = "tiny",
    weights: Annotated[Path | None, typer.Option(help="File of base weights.")] = None,
    adapter: Annotated[
        str | None,
        typer.Option(help="An adapter's folder, or with --store a version; beside its base."),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Folder of adapter versions; alone, the active one is shown."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        typer.Option(help="Of the encoder; auto is bf16 on processors that multiply in it."),
    ] = "auto",
) -> None:
    """Segment a phantom CT, or --image, from one box for each organ: masks, picture, table."""
    from rich.console import Console

    from cobot.cli.demo_case import phantom_case, user_case
    from cobot.cli.demo_models import ModelChoice, load_models
    from cobot.cli.demo_run import run_demo

    if box and image is None:
        raise ConfigError("--box goes with --image; the phantom's boxes come from its truth.")
    console = Console()
    models = load_models(ModelChoice(model, weights, adapter, store, device, precision))
    with console.status("Making the phantom" if image is None else f"Reading {image}"):
        case = phantom_case(seed, out) if image is None else user_case(image, box or [], out)
    with console.status(f"Segmenting with {models.shown.name} on {models.shown.place}"):
        result = run_demo(case, models, window)
    console.print(result.table)
    for what, path in result.files.items():
        console.print(f"{what:>8}  {path}", soft_wrap=True, highlight=False)
