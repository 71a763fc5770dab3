"""Several annotators at once on one server: no shared state, no error, and /info/ that answers.

    python scripts/bench_server_crowd.py --seconds 120 --out docs/results/server

Starts `cobot serve` on phantom studies. Each annotator, a thread with the real client, works on
studies of their own and asks every model but the trainers, again and again, in their own order.
Afterwards one client alone asks a fresh server, which remembers nothing, every request once: each
answer of the crowd has to be the same, voxel for voxel and word for word. Exits with 1 if one is
not, or if a request failed.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from bench_crowd_plan import STRUCTURES, Asked, Reply, session, write_study
from bench_server_click import MONAILabelClient, server
from monailabel.client.client import MONAILabelClientException

ANNOTATORS = 4
EVERY_S = 0.25
"""Between two looks at /info/."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What was asked, what came, and how long it took."""

    asked: Asked
    reply: Reply
    seconds: float


@dataclass(slots=True)
class Seen:
    """What the crowd met; lists are appended to by several threads."""

    answers: list[Answered] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    info_s: list[float] = field(default_factory=list)


def main() -> None:
    """Run the crowd, then the lone client, and compare."""
    options = read_options()
    with tempfile.TemporaryDirectory() as folder:
        studies = Path(folder) / "studies"
        studies.mkdir()
        phantoms = dict(
            write_study(studies, seed, options.shape) for seed in range(options.studies)
        )
        settings = ["--device", options.device, "--labels", ",".join(STRUCTURES)]
        settings += ["--store", str(options.store)] if options.store else []
        settings += ["--trainers", "none"]
        with fresh_server(studies, settings, Path(folder) / "home") as address:
            others = models_without_clicks(address)
            plans = [session(name, phantom, others) for name, phantom in phantoms.items()]
            seen = crowd(address, plans, options.seconds, Path(folder))
        with fresh_server(studies, settings, Path(folder) / "other_home") as address:
            alone = lone(address, sorted_requests(seen), Path(folder))
    result = summary(seen, alone, options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "crowd.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    text = to_markdown(result)
    (options.out / "crowd.md").write_text(text, encoding="utf-8")
    print(text)
    sys.exit(1 if result["errors"] or result["differing"] else 0)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120, help="how long the crowd works")
    parser.add_argument("--studies", type=int, default=8, help="how many phantoms")
    parser.add_argument("--shape", type=int, nargs=3, default=(192, 160, 32), help="voxels i j k")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--store", type=Path, help="adapters; one with --auto adds its model")
    parser.add_argument("--out", type=Path, default=Path("crowd"), help="folder for the results")
    options = parser.parse_args()
    if options.studies < ANNOTATORS:
        parser.error(f"--studies {options.studies}: give each of {ANNOTATORS} annotators one.")
    options.shape = tuple(options.shape)
    return options


def fresh_server(studies: Path, settings: Sequence[str], home: Path) -> Any:
    """A server with a cache folder of its own, and nothing in it."""
    os.environ["COBOT_HOME"] = str(home)
    return server(studies, settings)


def models_without_clicks(address: str) -> list[str]:
    """Automatic segmentation, where the adapter in use can do it."""
    with urllib.request.urlopen(f"{address}/info/", timeout=60) as reply:
        models = json.load(reply)["models"]
    return [name for name, model in models.items() if model["type"] == "segmentation"]


def crowd(address: str, plans: Sequence[list[Asked]], seconds: float, folder: Path) -> Seen:
    """All annotators at once, each on every fourth study, while somebody looks at /info/."""
    seen, end = Seen(), time.monotonic() + seconds
    threads = [
        threading.Thread(
            target=annotate, args=(address, number, plans[number::ANNOTATORS], end, folder, seen)
        )
        for number in range(ANNOTATORS)
    ]
    threads.append(threading.Thread(target=watch, args=(address, end, seen)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def annotate(
    address: str,
    number: int,
    plans: Sequence[list[Asked]],
    end: float,
    folder: Path,
    seen: Seen,
) -> None:
    """Study after study, its requests in the annotator's own order, until time is up."""
    client = MONAILabelClient(address, tmpdir=str(folder), client_id=f"annotator-{number}")
    order = random.Random(number)
    while True:
        for plan in plans:
            for asked in order.sample(plan, len(plan)):
                if time.monotonic() > end:
                    return
                try:
                    seen.answers.append(ask(client, asked))
                except (MONAILabelClientException, OSError, RuntimeError) as error:
                    told = getattr(error, "msg", str(error))
                    seen.errors.append(f"{asked.model}, {asked.study}: {told}")


def ask(client: MONAILabelClient, asked: Asked) -> Answered:
    """One request as 3D Slicer makes it."""
    request = {**asked.request, "result_extension": ".nrrd", "result_dtype": "uint8"}
    started = time.perf_counter()
    file, told = client.infer(asked.model, asked.study, request)
    seconds = time.perf_counter() - started
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(file))
    Path(file).unlink()
    return Answered(asked, Reply.of(voxels, told), seconds)


def watch(address: str, end: float, seen: Seen) -> None:
    """Look at /info/, as Slicer does, and time it."""
    while time.monotonic() < end:
        started = time.perf_counter()
        try:
            with urllib.request.urlopen(f"{address}/info/", timeout=60) as reply:
                reply.read()
            seen.info_s.append(time.perf_counter() - started)
        except OSError as error:
            seen.errors.append(f"/info/: {error}")
        time.sleep(EVERY_S)


def sorted_requests(seen: Seen) -> list[Asked]:
    """Every request that the crowd made, once."""
    made = {(one.asked.study, one.asked.number): one.asked for one in seen.answers}
    return [made[key] for key in sorted(made)]


def lone(address: str, requests: Sequence[Asked], folder: Path) -> dict[tuple[str, int], Answered]:
    """One client's answers, by study and number."""
    client = MONAILabelClient(address, tmpdir=str(folder), client_id="alone")
    return {(asked.study, asked.number): ask(client, asked) for asked in requests}


def summary(
    seen: Seen, alone: Mapping[tuple[str, int], Answered], options: argparse.Namespace
) -> dict[str, Any]:
    """What was measured, as JSON."""
    differing = [
        f"{one.asked.model}, {one.asked.study}, request {one.asked.number}: {found}"
        for one in seen.answers
        if (found := one.reply.difference(alone[one.asked.study, one.asked.number].reply))
    ]
    models = sorted({one.asked.model for one in seen.answers})
    by_model = {
        name: [one.seconds for one in seen.answers if one.asked.model == name] for name in models
    }
    return {
        "date": date.today().isoformat(),
        "command": f"python {' '.join(sys.argv)}",
        "cores": os.cpu_count(),
        "annotators": ANNOTATORS,
        "studies": options.studies,
        "shape": options.shape,
        "seconds": options.seconds,
        "answers": len(seen.answers),
        "distinct_requests": len(alone),
        "errors": seen.errors,
        "differing": differing,
        "info": spread(seen.info_s),
        "models": {name: spread(seconds) for name, seconds in by_model.items()},
    }


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """How many, and their middle, 95th percentile and largest, in seconds."""
    values = np.array(seconds or [float("nan")])
    return {
        "count": len(seconds),
        "median_s": round(float(np.median(values)), 3),
        "p95_s": round(float(np.percentile(values, 95)), 3),
        "max_s": round(float(values.max()), 3),
    }


def to_markdown(result: Mapping[str, Any]) -> str:
    """The same as a page."""
    rows = {**result["models"], "/info/": result["info"]}
    table = "\n".join(
        f"| {name} | {row['count']} | {row['median_s']} | {row['p95_s']} | {row['max_s']} |"
        for name, row in rows.items()
    )
    faults = "".join(f"- {line}\n" for line in [*result["errors"], *result["differing"]][:20])
    shape = " x ".join(map(str, result["shape"]))
    return f"""# {result["annotators"]} annotators at once

{result["date"]}, {result["cores"]} CPU cores. Command: `{result["command"]}`

{result["studies"]} phantom studies of {shape} voxels, {result["seconds"]:g} s, no pause between
requests; each annotator on studies of their own. Every answer was compared, voxel for voxel and
word for word, with the one that a lone client got from a fresh server.

**{result["answers"]} answers to {result["distinct_requests"]} distinct requests:
{len(result["errors"])} errors, {len(result["differing"])} different from the lone client's.**

| asked | answers | median s | 95 % s | longest s |
|---|---|---|---|---|
{table}

{faults}"""


if __name__ == "__main__":
    main()
