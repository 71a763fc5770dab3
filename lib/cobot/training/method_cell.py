"""One cell of a table of methods: train on some cases, measure on others, keep every number.

A cell is named by the hash of everything that decides it, so a finished one is never repeated and
a changed setting never reads an old number.
"""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cobot
from cobot.adapters.config import AdapterConfig
from cobot.adapters.count import count_parameters
from cobot.atomic import atomic_path
from cobot.checksum import file_checksum
from cobot.propagate import DEFAULT_RULE
from cobot.sam.adapted import swap_adapter
from cobot.sam.build import encoder_shape
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import load_sam
from cobot.training.corrections import find_corrections
from cobot.training.evaluate_method import method_dice
from cobot.training.evaluate_propagation import task_case
from cobot.training.hardware import Hardware
from cobot.training.loop import TrainingProgress
from cobot.training.recipe import Recipe
from cobot.training.request import TrainingRequest
from cobot.training.split import SplitCase, read_manifest
from cobot.training.task import TrainingTask
from cobot.training.train import train_blind

FORMAT = 1


@dataclass(frozen=True, slots=True)
class MethodCell:
    """What is trained and measured.

    Attributes:
        data: folder of labelled volumes.
        data_sha256: of all of its images and labels that the split names, and of the split.
        task: structures, windows, plane.
        split: a file that states the split.
        base: the encoder's name.
        weights: another file of that base.
        base_sha256: of its weights.
        adapter: the method.
        recipe: how it is trained.
        seed: of the training; of no effect on the base alone.
        slices: to learn from, at most; 0 takes all.
        jitter_seed: of the boxes that are measured with.
        hardware: where; of no effect on its name.
    """

    data: Path
    data_sha256: str
    task: TrainingTask
    split: Path
    base: str
    weights: Path | None
    base_sha256: str
    adapter: AdapterConfig
    recipe: Recipe
    seed: int
    slices: int = 0
    jitter_seed: int = 0
    hardware: Hardware = field(default_factory=lambda: Hardware(device="cpu"))

    @property
    def setting(self) -> dict[str, Any]:
        """What must be equal for two cells to stand in one table."""
        return {
            "format": FORMAT,
            "version": cobot.__version__,
            "base": self.base,
            "base_sha256": self.base_sha256,
            "recipe": {**self.recipe.to_dict(), "save_every": 0},
            "slices": self.slices,
            "jitter_seed": self.jitter_seed,
            "propagation": _plain(asdict(DEFAULT_RULE)),
            "precision": self.hardware.precision,
        }

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the numbers."""
        return {
            "setting": self.setting,
            "data_sha256": self.data_sha256,
            "task": self.task.to_dict(),
            "adapter": self.adapter.to_dict(),
            "seed": self.seed,
        }

    @property
    def name(self) -> str:
        """Readable, and different for different identities."""
        text = json.dumps(self.identity, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return f"{self.task.name}-{self.adapter.name}-v{self.adapter.width}-s{self.seed}-{digest}"

    @property
    def is_base(self) -> bool:
        """Whether nothing is trained."""
        return self.adapter.method == "freeze"


def data_sha256(data: Path, split: Path) -> str:
    """A checksum of the images and labels that a split names, and of the split itself."""
    found = {one.case: one for one in find_corrections(data)}
    sides = read_manifest(split, [SplitCase(case, "") for case in found])
    lines = [split.read_text(encoding="utf-8")]
    for case in (*sides.train, *sides.validation):
        one = found[case]
        lines += [file_checksum(path, "sha256") for path in (one.image, one.corrected)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def run_cell(
    cell: MethodCell, folder: Path, report: Callable[[TrainingProgress], None] = lambda now: None
) -> Path:
    """Train and measure a cell, unless it is finished.

    Args:
        cell: what to do.
        folder: the table's; holds `cells`, one JSON file each, and the decoded slices.
        report: called after every step.

    Returns:
        The cell's file: its identity, Dice of every case, structure and measure, parameters,
        seconds a step and peak memory.
    """
    path = folder / "cells" / f"{cell.name}.json"
    if path.exists():
        return path
    clock = StepClock(report)
    segmenter = _trained(cell, folder, clock)
    found = {one.case: one for one in find_corrections(cell.data)}
    sides = read_manifest(cell.split, [SplitCase(case, "") for case in found])
    began = time.perf_counter()
    dice = {
        case: method_dice(task_case(found[case], cell.task), segmenter, cell.jitter_seed)
        for case in sides.validation
    }
    content = {
        "identity": cell.identity,
        "method": cell.adapter.name,
        "dice": dice,
        "cases": {"train": len(sides.train), "validation": len(sides.validation)},
        "parameters": count_parameters(cell.adapter, encoder_shape(cell.base)),
        "steps": clock.steps,
        "seconds_per_step": clock.median_s,
        "cpu_seconds_per_step": clock.median_cpu_s,
        "measuring_seconds": time.perf_counter() - began,
        "peak_mib": _peak_mib(segmenter.device),
        "device": str(segmenter.device),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    shutil.rmtree(_store(cell, folder), ignore_errors=True)
    return path


def _store(cell: MethodCell, folder: Path) -> Path:
    """Where a cell trains: its own, since cells run side by side; gone when it is finished."""
    return folder / "runs" / cell.name


class StepClock:
    """Notes how long each step took, on the wall and of this process."""

    def __init__(self, report: Callable[[TrainingProgress], None]) -> None:
        self._report = report
        self._last = (time.perf_counter(), time.process_time())
        self._took: list[tuple[float, float]] = []
        self._step = -1

    def __call__(self, now: TrainingProgress) -> None:
        """After a step; the first one, which also warms up, is not counted."""
        at = (time.perf_counter(), time.process_time())
        if self._step >= 0 and now.step > self._step:
            self._took.append((at[0] - self._last[0], at[1] - self._last[1]))
        self._step, self._last = now.step, at
        self._report(now)

    @property
    def steps(self) -> int:
        """Steps done, those of an interrupted run before this one included."""
        return max(self._step, 0)

    @property
    def median_s(self) -> float | None:
        """Seconds a step; None without two steps."""
        return float(np.median([took for took, _ in self._took])) if self._took else None

    @property
    def median_cpu_s(self) -> float | None:
        """Seconds a step of this process's own work; None without two steps."""
        return float(np.median([took for _, took in self._took])) if self._took else None


def _trained(cell: MethodCell, folder: Path, clock: StepClock) -> SliceSegmenter:
    """The base, or the base with the cell's adapter after its last epoch."""
    if cell.is_base:
        device = cell.hardware.start().device
        precision = cell.hardware.precision_on(device)
        loaded = load_sam(cell.base, cell.weights)
        return SliceSegmenter(loaded, device, SegmenterOptions(precision=precision))
    store = _store(cell, folder)
    store.mkdir(parents=True, exist_ok=True)
    shared = folder / "cache"
    shared.mkdir(exist_ok=True)
    if not (store / "cache").exists():
        (store / "cache").symlink_to(shared.resolve(), target_is_directory=True)
    request = TrainingRequest(
        data=cell.data,
        task=cell.task,
        store=store,
        adapter=cell.adapter,
        recipe=replace(cell.recipe, patience=0),
        base=cell.base,
        weights=cell.weights,
        seed=cell.seed,
        split=cell.split,
        hardware=cell.hardware,
    )
    trained = train_blind(request, clock, cell.slices)
    return swap_adapter(trained.plain, trained.file)


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """JSON has no infinity."""
    return {name: str(one) if one == float("inf") else one for name, one in values.items()}


def _peak_mib(device: torch.device) -> float | None:
    """The most memory so far: of the GPU's tensors, or of the whole process; None on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
