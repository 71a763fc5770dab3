"""How each task of scripts/bench_goals.py is measured."""

import gc
import statistics
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace

import torch
from bench_decoder import DecoderCase, decoder_result
from bench_encoder_forms import (
    LAST_HALF,
    Case,
    build,
    grey_pictures,
    inference_rows,
    training_rows,
)
from bench_goals import Task
from bench_report import Line
from bench_rounds import Row, alone, compare
from bench_server_latency import warm_click_seconds
from bench_volume import volume_time
from cobot.adapters.attach import attach_adapters
from cobot.adapters.config import AdapterConfig
from cobot.sam.build import encoder_shape
from cobot.sam.prepared import prepare_encoder

EXACT = 1e-5
"""Largest relative error of an fp32 form."""

BF16_ERROR = 1.5e-2
"""Of embeddings in bf16; segment_anything's own in bf16 are 1e-2 away."""

LEAST_COSINE = 0.999
"""Between gradients of ours and of stock."""

CLICKS = 40
DECODER_ROUNDS = 3
"""Times the rounds of an encoder: a click is short."""

FOLDED_ROUNDS = 3
"""Likewise: a ratio near one is wanted to two hundredths."""

LONG_STEPS_PX = 512


def run_task(task: Task, rounds: int) -> list[Line]:
    """Measure a task; one line that says so if this machine or program cannot."""
    # What was compiled for one task counts against the limit of the next.
    torch.compiler.reset()
    gc.collect()
    if task.device == "cuda" and not torch.cuda.is_available():
        return [_unmeasured(task, "no GPU here")]
    if task.item in ("click", "mask", "prompts16"):
        if task.side_px != encoder_shape(task.encoder).image_size_px:
            return [_unmeasured(task, "segment_anything's decoder knows the trained side only")]
    return RUNNERS[task.item](task, rounds)


def _unmeasured(task: Task, why: str) -> Line:
    return Line(task.title, goals=tuple((str(goal), None) for goal in task.goals), note=why)


def _line(task: Task, row: Row, **more: object) -> Line:
    goals = tuple(
        (str(goal), goal.met(row, task.batch)) for goal in task.goals if goal.concerns(row)
    )
    return replace(Line(task.title, row, goals), **more)


def _case(task: Task, rounds: int) -> Case:
    return Case(task.encoder, task.side_px, task.batch, task.device, rounds=rounds)


def _encoder(task: Task, rounds: int) -> list[Line]:
    rows = inference_rows(
        _case(task, rounds),
        compiled=task.device == "cuda",
        wrong=lambda item, rel_err, _: rel_err > _most_error(item),
    )
    return [_line(task, row, most_error=_most_error(row.item)) for row in rows]


def _most_error(item: str) -> float:
    return BF16_ERROR if "bf16" in item else EXACT


def _training(task: Task, rounds: int) -> list[Line]:
    # Stock's steps are the longest of all: at full size on a CPU two forms and two rounds must do.
    long = task.device == "cpu" and task.side_px > LONG_STEPS_PX
    rows = training_rows(
        _case(task, min(rounds, 2) if long else rounds),
        every_form=not long,
        wrong=lambda _, __, cosine: cosine < LEAST_COSINE,
    )
    lines = [_line(task, row, gradients=True) for row in rows]
    by_form = {row.item.rpartition(": ")[2].partition(" / ")[0]: row for row in rows}
    late, every = by_form[LAST_HALF], by_form["bf16"]
    ratio = every.ours_s / late.ours_s
    against = replace(
        late,
        item=f"LoRA, {_case(task, rounds).title}: last half against all blocks, both ours in bf16",
        stock_s=every.ours_s,
        stock_peak_mb=every.peak_mb,
        ratio=ratio,
        ratio_p25=ratio,
        ratio_p75=ratio,
    )
    return [*lines, _line(task, against)]


def _folded(task: Task, rounds: int) -> list[Line]:
    """Plain SAM is the stock here, both computed by our forms in fp32."""
    torch.manual_seed(0)
    case = _case(task, rounds)
    plain = build(case).eval().requires_grad_(False)
    adapted = deepcopy(plain)
    config = AdapterConfig.named("lora+cobot")
    handle = attach_adapters(adapted, config, torch.Generator().manual_seed(0))
    for parameter in handle.parameters().values():
        torch.nn.init.normal_(parameter, std=0.02)
    handle.fold()
    pictures, _ = grey_pictures(case)
    works = [
        (lambda ready: lambda: ready.embed(pictures))(
            prepare_encoder(one.eval().requires_grad_(False), task.side_px, torch.float32)
        )
        for one in (plain, adapted)
    ]
    title = f"{case.title}: LoRA+COBOT folded / plain SAM, both ours"
    with torch.inference_mode():
        row = compare(title, (works[0], works[1]), FOLDED_ROUNDS * rounds, task.device)
    return [_line(task, row, note="error: the adapter's effect")]


def _decoder(task: Task, rounds: int) -> list[Line]:
    more = 1 if task.item == "prompts16" else DECODER_ROUNDS
    case = DecoderCase(task.item, task.encoder, task.device, more * rounds)
    found = decoder_result(case, lambda _, rel_err, __: rel_err > EXACT)
    note = f"limit of ours {1000 * found.reduced_limit_s:.3g} ms"
    return [_line(task, found.row, most_error=EXACT, differing=found.differing, note=note)]


def _volume(task: Task, rounds: int) -> list[Line]:
    found = volume_time(task.encoder, task.device, task.batch, rounds=rounds)
    busy = "" if found.busy is None else f"GPU busy {100 * found.busy:.0f} % (goal ≥ 65 %)"
    row = alone(f"{task.title}: 300 slices of 512 px, one box each", found.seconds)
    return [_line(task, row, note=busy)]


def _server(task: Task, rounds: int) -> list[Line]:
    del rounds
    seconds = warm_click_seconds(CLICKS)
    p95 = statistics.quantiles(seconds, n=20)[-1]
    middle = alone(f"{task.title}: p50 of {CLICKS} clicks, 512 x 512 x 200", seconds)
    late = replace(middle, item=middle.item.replace("p50", "p95"), ours_s=p95)
    return [_line(task, middle), _line(task, late)]


RUNNERS: Mapping[str, Callable[[Task, int], list[Line]]] = {
    "encoder": _encoder,
    "training": _training,
    "folded": _folded,
    "click": _decoder,
    "mask": _decoder,
    "prompts16": _decoder,
    "volume": _volume,
    "server": _server,
}
