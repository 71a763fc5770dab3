"""`cobot train --auto`: after the adapter, the prompts with which its labels ask for themselves."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from cobot.auto.recipe import AutoRecipe
    from cobot.auto.train import AutoProgress
    from cobot.training.request import TrainingRequest

STAGES = {"embed": "cases embedded", "learn": "steps learnt", "measure": "cases measured"}


def learn_auto(
    request: "TrainingRequest",
    version: str | None,
    recipe: "AutoRecipe",
    console: "Console",
) -> None:
    """Learn label prompts for a version, with a bar, and print what they find without a prompt.

    Args:
        request: of the adapter's training.
        version: the one that was published; None takes the active one.
        recipe: how.
        console: where to speak.

    Raises:
        AdapterError: there is no version to learn them for.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from cobot.adapters.store import AdapterStore
    from cobot.auto.files import FILE_NAME
    from cobot.auto.train import train_auto
    from cobot.errors import AdapterError

    store = AdapterStore(request.store)
    name = version or store.active()
    if name is None:
        raise AdapterError(
            f"--auto: no version is active in {request.store}, so there is no adapter to learn "
            "label prompts for: activate one with `cobot adapters activate`."
        )
    if (store.show(name).folder / FILE_NAME).exists():
        console.print(f"{name} segments without a prompt already; nothing was learnt again.")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        tasks = {stage: bar.add_task(text, total=None) for stage, text in STAGES.items()}

        def show(now: "AutoProgress") -> None:
            bar.update(tasks[now.stage], total=now.total, completed=now.done)

        outcome = train_auto(request, name, recipe, show)
    if outcome is not None:
        _print_dice(name, outcome.dice, console)


def _print_dice(version: str, dice: Mapping[str, Mapping[str, float]], console: "Console") -> None:
    """3D Dice of each structure, and how many cases have it."""
    import numpy as np
    from rich.table import Table

    table = Table(title="3D Dice on the validation cases: without any prompt", min_width=60)
    table.add_column("structure")
    for column in (version, "cases"):
        table.add_column(column, justify="right")
    names = sorted({name for found in dice.values() for name in found})
    for name in names:
        values = [found[name] for found in dice.values() if name in found]
        table.add_row(name, f"{np.mean(values):.4f}", str(len(values)))
    means = [float(np.mean(list(found.values()))) for found in dice.values() if found]
    mean = f"{np.mean(means):.4f}" if means else "-"
    table.add_row("mean over cases", mean, str(len(means)))
    console.print(table)
    console.print(
        f"{version} now segments without a prompt: in the server as `segment_…`, and in "
        "`cobot segment --auto`.",
        soft_wrap=True,
    )
