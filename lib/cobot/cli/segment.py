"""`cobot segment`: masks for many studies, in a run that may be stopped and begun again."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cobot.errors import ConfigError


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
    dicom_seg: Annotated[
        bool, typer.Option("--dicom-seg", help="Also DICOM SEG, where the image is DICOM.")
    ] = False,
    rtstruct: Annotated[
        bool, typer.Option("--rtstruct", help="Also RTSTRUCT, where the image is DICOM.")
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="Also a page to look through.")] = False,
    truth: Annotated[
        Path | None, typer.Option(help="Folder of true masks, for the report.")
    ] = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Here, or by workers of a Ray cluster.")
    ] = "local",
    workers: Annotated[int, typer.Option(min=1, help="Of --engine ray.")] = 2,
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
    from cobot.batch.model import load_model, settled_choice
    from cobot.batch.partners import partner_files
    from cobot.batch.run import Job, plan_run, run_job
    from cobot.batch.settings import CaseSettings, ModelChoice
    from cobot.batch.stages import Limits
    from cobot.cli.segment_engine import EngineChoice, make_engine
    from cobot.cli.segment_prompts import PromptOptions, prompt_source, require_window
    from cobot.cli.segment_screen import Screen
    from cobot.measures.mask_pairs import mask_files

    if truth is not None and not report:
        raise ConfigError("--truth goes with --report; add --report, or leave --truth out.")
    if truth is not None:
        # The report reads it when all is segmented: too late to learn that nothing is there.
        mask_files(partner_files(truth, "--truth").folder)
    limits = Limits(read_bytes(max_memory), jobs)
    settings = CaseSettings(
        window=window,
        axis=axis,
        separate=separate,
        dicom_seg=dicom_seg,
        rtstruct=rtstruct,
        slices_at_once=batch,
    )
    require_window(window)
    choice = settled_choice(
        ModelChoice(
            model=model,
            weights=weights,
            adapter=adapter,
            device=device,
            precision=precision,
            auto=auto,
        )
    )
    screen = Screen()
    asked = PromptOptions(prompts, prompts_from, tuple(box or ()), auto, labels, axis)
    source = prompt_source(asked, choice)
    with screen.status("Listing the inputs"):
        found = find_inputs(inputs, output)
    screen.found(found)
    with screen.status(f"Loading {model}"):
        loaded = load_model(choice)
    job = Job(found, output, source, settings, retry_failed)
    if dry_run:
        screen.show_plan(plan_run(job, loaded))
        return
    with make_engine(EngineChoice(engine, workers, limits), job, loaded) as engines, screen:
        summary = run_job(job, loaded, engines, screen)
    screen.show_summary(summary, output)
    if report and summary.records:
        from cobot.report.page import write_report

        screen.say(f"Report: {write_report(output, truth)}")
    if summary.failed:
        raise typer.Exit(1)
