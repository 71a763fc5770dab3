"""`cobot report`: one HTML page on the output of a batch."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    out: Annotated[Path, typer.Argument(help="the output folder of cobot segment")],
    truth: Annotated[
        Path | None, typer.Option(help="folder of true masks, named for the cases")
    ] = None,
) -> None:
    """Write OUT/report.html: one page with pictures, volumes and what needs a look."""
    from cobot.report.page import write_report

    typer.echo(f"The report is {write_report(out, truth)}")
