"""What 3D Slicer shows of a training, in the keys that its MONAI Label module reads."""

import json
import math
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cobot.atomic import atomic_path


@dataclass(frozen=True, slots=True)
class TrainStats:
    """A training's progress.

    Attributes:
        epoch: epochs done.
        total_epochs: epochs it may take.
        start_ts: when it started, seconds since 1970.
        seconds: since then.
        best_metric: the best validation Dice yet, 0 to 1.
        done: whether it has ended.
    """

    epoch: int
    total_epochs: int
    start_ts: int
    seconds: float
    best_metric: float
    done: bool

    def to_dict(self) -> dict[str, object]:
        """Slicer's keys: `current_time` while it runs, `total_time` when it is over; all finite.

        >>> TrainStats(2, 5, 1700000000, 61.0, float("nan"), False).to_dict()["current_time"]
        '0:01:01'
        """
        best = self.best_metric if math.isfinite(self.best_metric) else 0.0
        duration = str(timedelta(seconds=int(self.seconds)))
        return {
            "epoch": self.epoch,
            "total_epochs": self.total_epochs,
            "start_ts": self.start_ts,
            "total_time" if self.done else "current_time": duration,
            "best_metric": round(min(1.0, max(0.0, best)), 4),
        }

    def write(self, path: Path) -> None:
        """Write them as JSON, whole or not at all."""
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), allow_nan=False), encoding="utf-8")
