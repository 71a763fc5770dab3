"""The door: registers the verbs and turns refusals into one line and an exit code."""

import sys

import typer

from cobot.cli import (
    adapters,
    demo,
    evaluate,
    fetch,
    params,
    prepare,
    report,
    segment,
    serve,
    train,
)
from cobot.errors import CobotError

app = typer.Typer(
    name="cobot",
    help="Segment CT and MR volumes with SAM, adapted by SAM-COBOT.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("demo")(demo.demo)
app.command("params")(params.params)
app.command("segment")(segment.segment)
app.command("report")(report.report)
app.command("serve")(serve.serve)
app.command("train")(train.train)
app.command("fetch")(fetch.fetch)
app.command("prepare")(prepare.prepare)
app.add_typer(adapters.app, name="adapters")
app.add_typer(evaluate.app, name="evaluate")


def main() -> None:
    """Run the command; a refusal prints its message and exits with 2."""
    try:
        app()
    except CobotError as refusal:
        typer.echo(f"cobot: {refusal}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
