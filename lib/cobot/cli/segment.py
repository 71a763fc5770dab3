"""`cobot segment`: masks for many studies, in a run that may be stopped and begun again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cobot.errors import ConfigError

if TYPE_CHECKING:
    from cobot.batch.asking import PromptSource

PROMPT_OPTIONS = "--prompts FILE, --prompts-from MASKS, --box LABEL=... or --auto"


def segment(
    inputs: Annotated[
        list[str],
        typer.Argument(help="Images, folders, patterns in quotes, or a .csv or .json list."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    prompts: Annotated[
        Path | None, typer.Option(help="JSON file of boxes and points; see docs/batch.md.")
    ] = None,
    prompts_from: Annotated[
        Path | None, typer.Option(help="Folder of coarse masks: a box on each of their slices.")
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(help="LABEL=i0,j0,k0,i1,j1,k1 in voxels, the same for every image."),
    ] = None,
    auto: Annotated[bool, typer.Option("--auto", help="No prompt: the adapter knows.")] = False,
    labels: Annotated[str, typer.Option(help="liver,spleen or 1=liver,4=spleen; else all.")] = "",
    model: Annotated[str, typer.Option(help="tiny, vit_b, vit_l or vit_h.")] = "tiny",
    weights: Annotated[Path | None, typer.Option(help="File of base weights.")] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="An adapter's folder, or a store with an active one.")
    ] = None,
    window: Annotated[
        str, typer.Option(help="auto, a preset such as abdomen, or lower,upper.")
    ] = "auto",
    axis: Annotated[
        Literal["auto", "i", "j", "k"], typer.Option(help="Cut across; auto: coarsest spacing.")
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], typer.Option(help="Of the encoder.")
    ] = "auto",
    separate: Annotated[
        bool, typer.Option("--separate", help="Also one file for each label.")
    ] = False,
    max_memory: Annotated[
        str, typer.Option(help="Of the volumes in memory together, such as 4G.")
    ] = "4G",
    jobs: Annotated[int, typer.Option(min=1, help="Threads that read, and that write.")] = 2,
    batch: Annotated[int, typer.Option(min=1, help="Slices in one encoder batch.")] = 4,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try failed images again, unchanged or not.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be done, and do nothing.")
    ] = False,
) -> None:
    """Segment every image; start the same command again to go on after a stop.

    Exit code: 0 all done, 1 some images failed, 2 refused before or while running.
    """
    from cobot.batch.budget import read_bytes
    from cobot.batch.inputs import find_inputs
    from cobot.batch.model import load_model
    from cobot.batch.run import Job, plan_run, run_job
    from cobot.batch.settings import CaseSettings, ModelChoice
    from cobot.batch.stages import Limits, Stages
    from cobot.cli.segment_screen import Screen

    limits = Limits(read_bytes(max_memory), jobs)
    settings = CaseSettings(window=window, axis=axis, separate=separate, slices_at_once=batch)
    _require_window(window)
    source = _source(prompts, prompts_from, box or [], auto, labels)
    screen = Screen()
    with screen.status("Listing the inputs"):
        found = find_inputs(inputs)
    screen.found(found)
    choice = ModelChoice(
        model=model, weights=weights, adapter=adapter, device=device, precision=precision
    )
    with screen.status(f"Loading {model}"):
        loaded = load_model(choice)
    job = Job(found, output, source, settings, retry_failed)
    if dry_run:
        screen.show_plan(plan_run(job, loaded))
        return
    with screen:
        summary = run_job(
            job, loaded, lambda writer: Stages(loaded.segmenter, source, writer, limits), screen
        )
    screen.show_summary(summary, output)
    if summary.failed:
        raise typer.Exit(1)


def _require_window(text: str) -> None:
    """Refuse a window nobody can read before any image is read."""
    from cobot.intensity import stated_window

    if text != "auto":
        stated_window(text)


def _source(
    prompts: Path | None, masks: Path | None, boxes: list[str], auto: bool, labels: str
) -> "PromptSource":
    """The one source of prompts that was named."""
    from cobot.batch.asking import FilePrompts, MaskPrompts
    from cobot.batch.label_choice import read_label_choice
    from cobot.batch.partners import partner_files
    from cobot.batch.prompt_file import read_prompt_file
    from cobot.cli.boxes import box_prompts

    named = [prompts is not None, masks is not None, bool(boxes), auto]
    if sum(named) != 1:
        raise ConfigError(
            f"{sum(named)} sources of prompts were named; expected one of {PROMPT_OPTIONS}."
        )
    choice = read_label_choice(labels)
    if prompts is not None:
        return FilePrompts(read_prompt_file(prompts), f"file {prompts.name}", choice)
    if masks is not None:
        return MaskPrompts(partner_files(masks, "--prompts-from"), choice)
    if boxes:
        return FilePrompts(box_prompts(boxes), "boxes of the command line", choice)
    raise ConfigError(
        "--auto: this adapter carries no label prompts. Give prompts: --prompts FILE, "
        "--prompts-from MASKS or --box."
    )
