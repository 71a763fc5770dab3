"""`cobot serve`: the server that 3D Slicer talks to."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def serve(
    studies: Annotated[
        Path,
        typer.Option(help="Folder of images (.nii.gz, .nii, .nrrd, .mha).", show_default=False),
    ],
    app: Annotated[
        Path | None, typer.Option(help="Folder of the MONAI Label app.", show_default="this one's")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks one.", min=0, max=65535)] = (
        8000
    ),
    model: Annotated[str, typer.Option(help="tiny, vit_b, vit_l or vit_h.")] = "tiny",
    weights: Annotated[Path | None, typer.Option(help="File of base weights.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        typer.Option(help="Of the encoder; auto is bf16 on processors that multiply in it."),
    ] = "auto",
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Compile the encoder at the first click; for GPUs.")
    ] = False,
    window: Annotated[
        str, typer.Option(help="Intensity window offered first: auto, a preset or lower,upper.")
    ] = "auto",
    labels: Annotated[
        str,
        typer.Option(help="Structures to segment: spleen,liver.", show_default="abdomen"),
    ] = "",
    store: Annotated[
        Path | None,
        typer.Option(help="Folder of adapter versions.", show_default="in the studies"),
    ] = None,
    adapter: Annotated[
        str, typer.Option(help="Version that answers: active follows the store; or v0003; or none.")
    ] = "active",
    scoring: Annotated[
        bool, typer.Option(help="Score studies in the background, for Next Sample to choose by.")
    ] = True,
    trainers: Annotated[
        str,
        typer.Option(
            help="What may be trained: data sets by name, and TOML files of your own; or none.",
            show_default="spleen,abdomen,head_neck",
        ),
    ] = "",
) -> None:
    """Serve a folder of studies to 3D Slicer through MONAI Label, until Ctrl-C."""
    from cobot.server.launcher import ServeOptions, default_app
    from cobot.server.launcher import serve as run_server

    conf = {"model": model, "device": device, "window": window, "adapter": adapter}
    conf |= {"precision": precision, "compiled": str(compiled).lower()}
    conf["scoring"] = str(scoring).lower()
    if weights is not None:
        conf["weights"] = str(weights.resolve())
    if labels:
        conf["labels"] = labels
    if store is not None:
        conf["store"] = str(store.resolve())
    if trainers:
        conf["trainers"] = ",".join(_absolute(name.strip()) for name in trainers.split(","))
    run_server(
        ServeOptions(studies=studies, app=app or default_app(), host=host, port=port, conf=conf),
        typer.echo,
    )


def _absolute(trainer: str) -> str:
    """A data set's file by its whole path; a name as it is."""
    return str(Path(trainer).resolve()) if trainer.endswith(".toml") else trainer
