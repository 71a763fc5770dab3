"""Speed and memory against segment_anything in one process, and whether the goals are reached.

    python scripts/bench_speed.py --data DATA_DIR --json speed.json --markdown speed.md
    python scripts/bench_speed.py --items click,prompts16,server --device cpu
    python scripts/bench_speed.py --encoder vit_b --side 1024 --items encoder --rounds 9

Without --encoder the whole plan of scripts/bench_goals.py, some 15 minutes on two quiet cores. Rows
for a GPU are measured where one is and listed otherwise. Answers are held against those of
segment_anything before they are timed: what is wrong is told and not timed. A round around which
the machine's speed moved is marked in the JSON and left out. Both files are written anew after
every row. Weights are random, but for the masks in bf16, which need `tiny`'s trained ones and
--data, a folder of image_X.nii.gz and label_X.nii.gz. Ends with 1 if an answer differs from
segment_anything's by more than rounding; a goal that is missed is only said.
"""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from bench_bf16_masks import LEAST_DICE, bf16_agreement
from bench_goals import PLAN, Task
from bench_report import Line, Report, summary, to_markdown
from bench_tasks import LEAST_COSINE, run_task
from cobot.atomic import atomic_path
from cobot.sam.weights import default_weights_path, load_sam
from rich.console import Console


@dataclass(frozen=True, slots=True)
class Gate:
    """Something that must be so, whatever the speed.

    Attributes:
        name: what is asked.
        passed: None where it could not be looked at.
        detail: what was found, or why nothing was.
    """

    name: str
    passed: bool | None
    detail: str


def main(
    encoder: Annotated[str, typer.Option(help="one encoder instead of the whole plan")] = "",
    side: Annotated[int, typer.Option(help="px; with --encoder")] = 1024,
    items: Annotated[str, typer.Option(help="commas between; empty takes all")] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda, or empty for both")] = "",
    rounds: int = 5,
    data: Annotated[Path | None, typer.Option(exists=True, file_okay=False)] = None,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
    markdown: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Measure, print, write; end with 1 if an answer was wrong."""
    # Stock's convolutions in TF32 would be compared with our products in fp32.
    torch.backends.cudnn.allow_tf32 = False
    console = Console(width=180)
    tasks, lines, began = chosen_tasks(encoder, side, items, device), list[Line](), time.monotonic()
    narrow = bf16_gate(data)
    report = Report((), (asdict(narrow),), machine())
    console.print(f"[dim]{_minutes(began)} {_said(narrow)}[/dim]", highlight=False)
    for number, task in enumerate(tasks, start=1):
        console.print(f"[dim]{_minutes(began)} {number} of {len(tasks)}: {task.title} ...[/dim]")
        found = run_task(task, rounds)
        lines += found
        for line in found:
            console.print(f"[dim]      {summary(line)}[/dim]", highlight=False)
        for gate in exactness(found):
            console.print(f"[dim]      {_said(gate)}[/dim]", highlight=False)
        report = Report(tuple(lines), tuple(map(asdict, [narrow, *exactness(lines)])), machine())
        write(report, json_file, markdown)
    console.print(to_markdown(report), markup=False)
    console.print(f"[dim]{_minutes(began)} done[/dim]")
    raise typer.Exit(int(any(gate["passed"] is False for gate in report.gates)))


def write(report: Report, json_file: Path | None, markdown: Path | None) -> None:
    """Write the files that are wanted; each is whole at any time."""
    texts = {json_file: json.dumps(finite(asdict(report)), indent=2), markdown: to_markdown(report)}
    for path, text in texts.items():
        if path is not None:
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")


def finite(value: object) -> object:
    """The same with None for figures that there are not, as JSON wants it."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _said(gate: Gate) -> str:
    verdict = {True: "passed", False: "FAILED", None: "not looked at"}[gate.passed]
    return f"gate {verdict}: {gate.name} ({gate.detail})"


def _minutes(began: float) -> str:
    seconds = int(time.monotonic() - began)
    return f"{seconds // 60:3d}:{seconds % 60:02d}"


def chosen_tasks(encoder: str, side: int, items: str, device: str) -> list[Task]:
    """Of the plan, or for one encoder and side; goals are the plan's where it has that very task.

    Raises:
        typer.BadParameter: no such item.
    """
    known = dict.fromkeys(task.item for task in PLAN)
    wanted = items.split(",") if items else list(known)
    if unknown := [item for item in wanted if item not in known]:
        raise typer.BadParameter(f"no such item: {unknown}; expected some of {', '.join(known)}")
    found = [
        task
        for task in PLAN
        if task.item in wanted
        and device in ("", task.device)
        and encoder in ("", task.encoder)
        and (not encoder or task.side_px == side)
    ]
    planned = {(task.item, task.device) for task in found}
    place = device or "cpu"
    added = (
        [] if not encoder or not items else [one for one in wanted if (one, place) not in planned]
    )
    return found + [Task(item, encoder, side, place) for item in added]


def exactness(lines: list[Line]) -> list[Gate]:
    """Errors of embeddings and logits, angles of gradients, masks of decoders."""
    found = []
    for line in lines:
        if line.row is None:
            continue
        name, error = line.row.item, line.row.rel_err
        if line.most_error is not None:
            what = f"{name}: error ≤ {line.most_error:g}"
            found.append(Gate(what, error <= line.most_error, f"{error:.1e}"))
        if line.gradients:
            cosine = line.row.cosine
            what = f"{name}: cosine of gradients ≥ {LEAST_COSINE}"
            found.append(Gate(what, cosine >= LEAST_COSINE, f"{cosine:.5f}"))
        if line.differing is not None:
            detail = f"{line.differing} pixels differ"
            found.append(Gate(f"{line.title}: masks equal", line.differing == 0, detail))
    return found


def bf16_gate(data: Path | None) -> Gate:
    """Masks of `tiny` in bf16 on real slices."""
    name = f"masks in bf16, tiny: mean Dice ≥ {LEAST_DICE}"
    if data is None:
        return Gate(name, None, "no --data")
    if not default_weights_path("tiny").is_file():
        return Gate(name, None, "tiny's weights are not there")
    found = bf16_agreement(load_sam("tiny"), data)
    return Gate(name, found.enough, str(found))


def machine() -> str:
    """What the figures were measured on."""
    threads = f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"torch {torch.__version__}, {threads}, {gpu}"


if __name__ == "__main__":
    typer.run(main)
