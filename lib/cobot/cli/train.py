"""`cobot train`: adapters from corrections, on data of one's own."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from cobot.adapters.config import AdapterConfig
    from cobot.auto.recipe import AutoRecipe
    from cobot.training.recipe import Recipe
    from cobot.training.request import TrainingRequest
    from cobot.training.task import TrainingTask
    from cobot.training.validate import ValidationScores

OWN_NAME = "own"
"""Of a data set that is described by its labels alone."""


def train(
    data: Annotated[Path, typer.Option(help="image_*/label_* pairs, or a MONAI Label datastore")],
    dataset: Annotated[
        str, typer.Option(help="abdomen, spleen, head_neck, FILE.toml, or 1=liver,4=spleen")
    ],
    store: Annotated[
        Path | None,
        typer.Option(
            help="adapter versions; runs and cache lie there too; else out/adapters/DATASET-BASE"
        ),
    ] = None,
    base: Annotated[str, typer.Option(help="tiny, vit_b, vit_l or vit_h")] = "tiny",
    weights: Annotated[Path | None, typer.Option(help="another file of that base")] = None,
    method: Annotated[
        str, typer.Option(help="lightweight, lora or adaptformer, the last two also with +cobot")
    ] = "adaptformer+cobot",
    blocks: Annotated[
        str,
        typer.Option(help="adapted: all, last-half or last-quarter; fewer learn faster in less"),
    ] = "all",
    recipe: Annotated[str, typer.Option(help="default or paper")] = "default",
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="a setting of recipe or adapter: epochs=5, width=8, relation=fixed"
        ),
    ] = None,
    labels: Annotated[
        str, typer.Option(help="what the label values mean here, if not as --dataset says: 1=liver")
    ] = "",
    window: Annotated[str, typer.Option(help="for all: auto, a preset or lower,upper")] = "",
    plane: Annotated[str, typer.Option(help="axial, coronal, sagittal, acquired, i, j, k")] = "",
    side: Annotated[int | None, typer.Option(help="input side in px, else the base's")] = None,
    split: Annotated[
        Path | None, typer.Option(help='JSON: {"train": [...], "validation": [...]}')
    ] = None,
    validation: Annotated[float, typer.Option(help="fraction of the cases to hold back")] = 0.2,
    continue_from: Annotated[
        str | None, typer.Option("--continue", help="go on with a version, or with the active")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of everything random")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    devices: Annotated[int, typer.Option(help="processes on this host, one a GPU")] = 1,
    nodes: Annotated[int, typer.Option(help="hosts; start each with torchrun")] = 1,
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        typer.Option(help="auto is bf16 on CUDA, fp32 on the CPU; what learns stays fp32"),
    ] = "auto",
    micro_batch: Annotated[int, typer.Option(help="slices at once; 0: the whole batch")] = 0,
    checkpointing: Annotated[bool, typer.Option(help="far less memory, a third slower")] = False,
    loaders: Annotated[int, typer.Option(help="threads that prepare slices ahead")] = 0,
    cache_gib: Annotated[float, typer.Option(help="of decoded slices on disk")] = 20.0,
    prefix_gib: Annotated[
        float, typer.Option(help="memory for what frozen blocks before adapted ones make of slices")
    ] = 4.0,
    auto: Annotated[
        bool, typer.Option(help="then learn label prompts: segmentation without a click or box")
    ] = False,
    auto_change: Annotated[
        list[str] | None,
        typer.Option("--auto-set", help="a setting of that: slices=600, together_weight=0.5"),
    ] = None,
) -> None:
    """Train an adapter; publish it if it is not worse than the active one on held-back cases.

    The same command goes on where it was interrupted. On a CPU the default recipe makes 3 epochs
    instead of 20, unless --set epochs says how many.
    """
    from cobot.adapters.blocks import in_blocks
    from cobot.auto.recipe import AutoRecipe
    from cobot.sam.build import encoder_shape
    from cobot.sam.device import choose_device
    from cobot.training.data_labels import write_split
    from cobot.training.hardware import Hardware
    from cobot.training.request import TrainingRequest

    changes = read_changes(change or [])
    adapter, settings = configurations(method, recipe, changes)
    if "epochs" not in changes and choose_device(device).type == "cpu":
        settings = settings.on_cpu()
    settled = settle_task(data, find_task(dataset, plane=plane), dataset, labels, window)
    # One store holds versions that compete: of one task on one base.
    store = store or Path("out/adapters") / f"{settled.task.name}-{base}"
    if split is None and settled.split and not (store / "split.json").exists():
        split = write_split(settled.split, store / "stated_split.json")
    auto_recipe = AutoRecipe.changed(read_changes(auto_change or [])) if auto else None
    _run(
        TrainingRequest(
            data=data,
            task=settled.task,
            store=store,
            adapter=in_blocks(adapter, blocks, encoder_shape(base).depth),
            recipe=settings,
            base=base,
            weights=weights,
            seed=seed,
            side_px=side,
            split=split,
            validation_fraction=validation,
            begin_with=continue_from,
            hardware=Hardware(
                *(device, devices, nodes, precision, loaders, checkpointing, micro_batch),
                prefix_bytes=int(prefix_gib * 2**30),
            ),
            cache_bytes=int(cache_gib * 2**30),
        ),
        settled.sentences,
        auto_recipe,
    )


def find_task(text: str, window: str = "", plane: str = "") -> "TrainingTask":
    """The task a user names.

    Args:
        text: a data set's name, a TOML file, or labels such as `1=liver,4=spleen`.
        window: for all structures, if not empty: auto, a preset or `lower,upper`.
        plane: how to cut, if not empty.

    Raises:
        CobotError: there is no such data set, file, window or plane.
    """
    from dataclasses import replace

    from cobot.datasets.catalogue import dataset as catalogued
    from cobot.training.task import TrainingTask, parse_labels

    if "=" in text:
        task = TrainingTask(OWN_NAME, parse_labels(text))
    else:
        task = TrainingTask.of(catalogued(text))
    task = task.shown_in(window) if window else task
    return replace(task, cut=plane) if plane else task


@dataclass(frozen=True, slots=True)
class SettledTask:
    """A task as it holds for a folder, what to tell of it, and the split that is stated there."""

    task: "TrainingTask"
    sentences: tuple[str, ...]
    split: Mapping[str, list[str]] | None


def settle_task(
    data: Path, task: "TrainingTask", dataset: str, labels: str = "", window: str = ""
) -> SettledTask:
    """A task with the label names and windows that hold for a folder of images.

    Args:
        data: the folder.
        task: as the user named it.
        dataset: how the user named it; a catalogued one must not be taken by value alone.
        labels: what the values mean, if the user says so.
        window: for all structures, if the user says so.

    Raises:
        CobotError: it is not clear what the values mean; the message ends with a command.
    """
    from cobot.datasets.catalogue import PUBLIC
    from cobot.training.corrections import find_corrections
    from cobot.training.data_labels import (
        fits_windows,
        named_task,
        relabelled,
        require_known_names,
        stated_labels,
    )
    from cobot.training.task import AUTO, parse_labels

    example, *others = find_corrections(data)
    stated = stated_labels(data, example, others)
    command = shlex.join(["cobot", *sys.argv[1:]])
    if labels:
        task = relabelled(task, parse_labels(labels))
        require_known_names(task, stated, command)
    elif dataset.replace("-", "_") in PUBLIC:
        task = named_task(task, stated, command)
    else:
        require_known_names(task, stated, command)
    source = "--labels" if labels else (stated.source if stated else "--dataset")
    sentences = [f"Labels, by {source}: {', '.join(task.labels.values())}."]
    if window:
        task = task.shown_in(window)
    elif not fits_windows(task, example):
        task = task.shown_in(AUTO)
        sentences.append("These images are no CT, so they are shown by percentiles, not in HU.")
    return SettledTask(task, tuple(sentences), stated.split if stated else None)


def read_changes(texts: Sequence[str]) -> dict[str, object]:
    """Read settings as a user writes them.

    >>> read_changes(["epochs=5", "relation=fixed", "coefficients=false"])
    {'epochs': 5, 'relation': 'fixed', 'coefficients': False}

    Raises:
        ConfigError: one is not NAME=VALUE.
    """
    from cobot.errors import ConfigError

    changes: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set {text!r} cannot be read; write for example --set epochs=5.")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            changes[name] = value
    return changes


def configurations(
    method: str, recipe: str, changes: Mapping[str, object]
) -> tuple["AdapterConfig", "Recipe"]:
    """A method and a recipe, each with the changes that are its own.

    Raises:
        ConfigError: a name or a setting is unknown, or a value does not fit.
    """
    from dataclasses import fields

    from cobot.adapters.config import AdapterConfig
    from cobot.training.recipe import Recipe

    of_adapter = {field.name for field in fields(AdapterConfig)} - {"method"}
    adapter = {name: value for name, value in changes.items() if name in of_adapter}
    rest = {name: value for name, value in changes.items() if name not in of_adapter}
    return AdapterConfig.named(method, **adapter), Recipe.named(recipe, rest)


def _run(
    request: "TrainingRequest", sentences: Sequence[str], auto: "AutoRecipe | None" = None
) -> None:
    """Say what is understood, train with a bar, and print the figures; then label prompts."""
    from lightning_fabric.utilities.rank_zero import rank_zero_only
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from cobot.auto.together import together_or_none
    from cobot.cli.train_auto import learn_auto
    from cobot.training.loop import TrainingProgress
    from cobot.training.train import train_adapter

    # Of several processes only the first one speaks.
    console = Console(quiet=bool(getattr(rank_zero_only, "rank", 0)))
    for sentence in sentences:
        console.print(sentence, soft_wrap=True)
    columns = (
        TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]} · Dice {task.fields[dice]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("train", total=None, epoch="0", rate="", loss="-", dice="-")

        def show(now: TrainingProgress) -> None:
            speed = bar.tasks[0].speed
            bar.update(
                task, total=now.steps, completed=now.step, epoch=f"{now.epoch}/{now.epochs}",
                rate=f"{speed:.2f} steps/s" if speed else "", loss=f"{now.loss:.3f}",
                dice=f"{now.best_dice:.4f}" if now.epoch else "-",
            )  # fmt: skip

        outcome = train_adapter(
            request,
            show,
            lambda text: console.print(text, soft_wrap=True),
            together_or_none(auto),
        )
    scores = outcome.verdict.champion.scores
    names = (outcome.verdict.champion.name, outcome.verdict.version or "new")
    for title, before, after in (
        ("a box on each slice", scores, outcome.verdict.challenger),
        ("one box, propagated", *outcome.propagated),
    ):
        if after is not None:
            console.print(_table(title, names, before, after))
    console.print(outcome.verdict.reason, soft_wrap=True)
    console.print(
        f"Versions: {request.store}; curves and figures: {outcome.folder}", soft_wrap=True
    )
    if auto is not None:
        learn_auto(request, outcome.verdict.version, auto, console)


def _table(
    title: str,
    names: tuple[str, str],
    before: "ValidationScores | None",
    after: "ValidationScores",
) -> "Table":
    """3D Dice of each structure, before and after."""
    from rich.table import Table

    table = Table(title=f"3D Dice on the validation cases: {title}", min_width=60)
    table.add_column("structure")
    for column in names:
        table.add_column(column, justify="right")
    for name, dice in after.by_label.items():
        table.add_row(name, f"{before.by_label[name]:.4f}" if before else "-", f"{dice:.4f}")
    mean = f"{before.mean:.4f}" if before else "-"
    table.add_row("mean over cases", mean, f"{after.mean:.4f}")
    return table
