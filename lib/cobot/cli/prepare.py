"""`cobot prepare`: a downloaded public data set becomes a folder of studies."""

from pathlib import Path
from typing import Annotated

import typer


def prepare(
    dataset: Annotated[str, typer.Argument(help="abdomen, spleen or head-neck.")],
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Folder the download was unpacked into.")
    ],
    studies: Annotated[
        Path, typer.Argument(metavar="STUDIES", help="Folder for `cobot serve --studies`.")
    ],
    download: Annotated[
        bool, typer.Option("--download", help="Fetch it into SRC first (spleen, 1.6 GB).")
    ] = False,
    mirror: Annotated[
        str | None, typer.Option(help="Fetch from this folder's address instead of MONAI's.")
    ] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Lay out the cases that are whole.")
    ] = False,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy images instead of linking them.")
    ] = False,
) -> None:
    """Lay a public data set out for the server: links, checked labels, checksums; resumes."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from cobot.datasets.catalogue import public_dataset
    from cobot.datasets.prepare import Options
    from cobot.datasets.prepare import prepare as lay_out

    console = Console()
    public = public_dataset(dataset)
    about = public[0]
    console.print(f"{about.title}: {about.terms.licence}. {about.terms.meaning}", soft_wrap=True)
    if download:
        _download(about.name, source, mirror)
    with Progress("cases", MofNCompleteColumn(), TimeRemainingColumn(), transient=True) as bar:
        task = bar.add_task("cases", total=None)
        report = lay_out(
            public,
            (source, studies),
            Options(incomplete, copy),
            lambda done, whole: bar.update(task, completed=done, total=whole),
        )
    console.print(
        f"{report.laid_out} cases laid out, {report.already} were there already. "
        f"Checksums: {report.manifest}",
        soft_wrap=True,
    )
    if report.missing:
        console.print(f"Left out for want of {len(report.missing)} files.")
    if report.corrected:
        console.print(f"{len(report.corrected)} corrected label maps were left as they are.")
    console.print(f"Next: cobot serve --studies {studies}", soft_wrap=True)


def _download(name: str, source: Path, mirror: str | None) -> None:
    from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    from cobot.datasets.spleen_download import download_spleen
    from cobot.errors import ConfigError

    if name != "spleen":
        raise ConfigError(
            f"Only spleen can be downloaded; {name} must be asked for at its publishers (see "
            "docs/datasets.md). Unpack it yourself and leave out --download."
        )
    columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress("download", *columns, transient=True) as bar:
        task = bar.add_task("download", total=None)
        download_spleen(
            source, mirror, lambda here, whole: bar.update(task, completed=here, total=whole)
        )
