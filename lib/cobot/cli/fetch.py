"""`cobot fetch`: bring Meta's published SAM weights to this machine."""

from pathlib import Path
from typing import Annotated

import typer


def fetch(
    encoder: Annotated[
        str, typer.Argument(help="vit_b (375 MB), vit_l (1.2 GB) or vit_h (2.6 GB).")
    ],
    mirror: Annotated[
        str | None,
        typer.Option(help="Address of a folder with the published files; else COBOT_MIRROR."),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(help="Folder to put them in; else COBOT_HOME, where they are looked for."),
    ] = None,
) -> None:
    """Download SAM's weights: resumes, checks the checksum, shows progress."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from cobot.download import fetch as fetch_file
    from cobot.sam.home import cobot_home
    from cobot.sam.official import official_file, weights_source

    wanted = official_file(encoder)
    source = weights_source(mirror)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(wanted.file_name, total=wanted.size_bytes)
        path = fetch_file(
            wanted,
            home or cobot_home(),
            source,
            lambda here, whole: bar.update(task, completed=here, total=whole),
        )
    typer.echo(f"{encoder}: {path} (SHA-256 {wanted.checksum})")
