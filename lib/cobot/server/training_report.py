"""What a trainer tells of its last run: one small file, written by its process, read by the server.

The server answers `/info/` from it, which Slicer asks every five seconds while a training runs.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psutil  # type: ignore[import-untyped]

from cobot.atomic import atomic_path
from cobot.training.stats import TrainStats

State = Literal["starting", "running", "interrupted", "failed", "published", "not better"]

GOING_ON = "Stopped before its end; start it with the same settings to go on where it was."


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """One run's progress and end.

    Attributes:
        stats: epochs, time and Dice, in Slicer's keys.
        state: what it is doing, or how it ended.
        message: the same in a sentence, with its reason.
        notes: what else the user should know.
        version: the adapter it published; None if it has not.
        process: the training's process id and when that process began, which tell it from a later
            one; None while it is starting.
    """

    stats: TrainStats
    state: State
    message: str = ""
    notes: tuple[str, ...] = ()
    version: str | None = None
    process: tuple[int, float] | None = None

    @classmethod
    def starting(cls, epochs: int, notes: Sequence[str] = ()) -> "TrainingReport":
        """A training that is about to begin; at most `epochs` epochs."""
        stats = TrainStats(0, max(1, epochs), int(time.time()), 0.0, 0.0, False)
        return cls(stats, "starting", "The training is starting.", tuple(notes))

    def running(self, epoch: int, epochs: int, best_dice: float) -> "TrainingReport":
        """The same training after some steps, told by its own process."""
        stats = self._stats(epoch, epochs, best_dice, done=False)
        own = (os.getpid(), psutil.Process().create_time())
        return replace(self, stats=stats, state="running", message="", process=own)

    def ended(self, state: State, message: str, version: str | None = None) -> "TrainingReport":
        """The same training when it is over."""
        now = self.stats
        stats = self._stats(now.epoch, now.total_epochs, now.best_metric, done=True)
        return replace(self, stats=stats, state=state, message=message, version=version)

    def seen_now(self, is_started: bool) -> "TrainingReport":
        """What can be said of it now: a training whose process is gone did not end by itself.

        Args:
            is_started: the server that asks has a training queued or running.
        """
        starts = self.state == "starting" and is_started
        if self.state not in ("starting", "running") or starts or _lives(self.process):
            return self
        return replace(self, state="interrupted", message=GOING_ON)

    def to_dict(self) -> dict[str, object]:
        """Slicer's keys, and ours beside them."""
        return {
            **self.stats.to_dict(),
            "state": self.state,
            "message": self.message,
            "notes": list(self.notes),
            "version": self.version,
        }

    def _stats(self, epoch: int, epochs: int, best: float, done: bool) -> TrainStats:
        start = self.stats.start_ts
        return TrainStats(epoch, max(1, epochs), start, time.time() - start, best, done)


def write_report(report: TrainingReport, path: Path) -> None:
    """Write a report, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stats = report.stats
    content = {
        "stats": [
            stats.epoch,
            stats.total_epochs,
            stats.start_ts,
            stats.seconds,
            stats.best_metric,
            stats.done,
        ],
        "state": report.state,
        "message": report.message,
        "notes": report.notes,
        "version": report.version,
        "process": report.process,
    }
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(content), encoding="utf-8")


def read_report(path: Path) -> TrainingReport | None:
    """The last report of a trainer; None if it never ran, or the file is not readable."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pid = content["process"]
        return TrainingReport(
            stats=TrainStats(*content["stats"]),
            state=content["state"],
            message=str(content["message"]),
            notes=tuple(content["notes"]),
            version=content["version"],
            process=(int(pid[0]), float(pid[1])) if pid else None,
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def newest_first(stats: Mapping[str, Mapping[str, object]]) -> dict[str, Mapping[str, object]]:
    """Trainers' figures with the one that started last in front, which Slicer shows.

    >>> list(newest_first({"a": {"start_ts": 1}, "b": {}, "c": {"start_ts": 2}}))
    ['c', 'a', 'b']
    """

    def began(name: str) -> float:
        return float(str(stats[name].get("start_ts", 0)))

    return {name: stats[name] for name in sorted(stats, key=began, reverse=True)}


def _lives(process: tuple[int, float] | None) -> bool:
    if process is None:
        return False
    try:
        found = psutil.Process(process[0])
        return bool(found.create_time() == process[1] and found.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
