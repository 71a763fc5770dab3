"""What is measured by scripts/bench_speed.py, and the goal that each figure is held against."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench_encoder_forms import LAST_HALF
from bench_rounds import Row
from cobot.sam.build import encoder_shape

Measure = Callable[[Row, int], float]

MEASURES: Mapping[str, Measure] = {
    "times stock": lambda row, _: row.ratio,
    "ms": lambda row, _: 1000 * row.ours_s,
    "s": lambda row, _: row.ours_s,
    "slices/s": lambda row, batch: batch / row.ours_s,
    "GB over weights": lambda row, _: (row.peak_mb or 0) * 2**20 / 1e9,
    "GiB a slice": lambda row, batch: (row.peak_mb or 0) / 1024 / batch,
}
"""From a row and its batch size to a figure with a goal."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a figure of some rows.

    Attributes:
        measure: one of `MEASURES`.
        bound: the figure wanted.
        form: rows whose name ends with it, after the colon; empty takes all.
        at_most: the figure is to stay below the bound; else above it.
    """

    measure: str
    bound: float
    form: str = ""
    at_most: bool = False

    def concerns(self, row: Row) -> bool:
        """Whether it is about that row."""
        return not self.form or row.item.rpartition(": ")[2].startswith(self.form)

    def met(self, row: Row, batch: int) -> bool:
        """Whether the row reaches it."""
        figure = MEASURES[self.measure](row, batch)
        return figure <= self.bound if self.at_most else figure >= self.bound

    def __str__(self) -> str:
        """As it stands in tables."""
        return f"{'≤' if self.at_most else '≥'} {self.bound:g} {self.measure}"


@dataclass(frozen=True, slots=True)
class Task:
    """One measurement.

    Attributes:
        item: encoder, training, folded, click, mask, prompts16, volume or server.
        encoder: its name.
        side_px: of its input.
        device: "cpu" or "cuda".
        batch: slices at once.
        goals: to be reached.
    """

    item: str
    encoder: str
    side_px: int
    device: str = "cpu"
    batch: int = 1
    goals: tuple[Goal, ...] = field(default=())

    @property
    def title(self) -> str:
        """As it stands in tables."""
        batch = f", batch {self.batch}" if self.batch > 1 else ""
        return f"{self.item}, {self.encoder} {self.side_px} px, {self.device}{batch}"


def _at_most(measure: str, bound: float, form: str = "") -> Goal:
    return Goal(measure, bound, form, at_most=True)


SAME_SPEED = (Goal("times stock", 0.98), _at_most("times stock", 1.02))
GRAPH = "bf16 compiled graph"
TINY = ("tiny", encoder_shape("tiny").image_size_px)

PLAN: tuple[Task, ...] = (
    Task(
        *("encoder", "vit_b", 1024),
        goals=(
            Goal("times stock", 3, "bf16"),
            Goal("times stock", 1.4, "fp32"),
            _at_most("GB over weights", 0.45),
        ),
    ),
    Task("encoder", "vit_b", 512, goals=(Goal("times stock", 2.4, "bf16"),)),
    Task("encoder", *TINY, goals=(Goal("times stock", 1.5),)),
    Task("click", "vit_b", 1024, goals=(Goal("times stock", 2.5), _at_most("ms", 35))),
    Task("mask", "vit_b", 1024),
    Task("prompts16", "vit_b", 1024, goals=(Goal("times stock", 3.7),)),
    Task("click", *TINY),
    Task("prompts16", *TINY),
    Task("server", *TINY, goals=(_at_most("ms", 150, "p95"),)),
    Task("folded", "vit_b", 512, goals=SAME_SPEED),
    Task("training", "vit_b", 512),
    Task(
        *("training", "vit_b", 1024),
        goals=(
            Goal("times stock", 3.5, LAST_HALF),
            _at_most("GB over weights", 1.4, LAST_HALF),
        ),
    ),
    Task(
        *("encoder", "vit_b", 1024, "cuda", 8),
        goals=(
            Goal("slices/s", 300, GRAPH),
            Goal("times stock", 8, f"{GRAPH} / stock fp32"),
            Goal("times stock", 2, f"{GRAPH} / stock bf16"),
        ),
    ),
    Task("encoder", "vit_l", 1024, "cuda", 8, (Goal("slices/s", 115, GRAPH),)),
    Task("click", "vit_b", 1024, "cuda", goals=(_at_most("ms", 1.2),)),
    Task("prompts16", "vit_b", 1024, "cuda", goals=(_at_most("ms", 3),)),
    Task("volume", "vit_b", 1024, "cuda", 8, (_at_most("s", 1.5),)),
    Task("folded", "vit_b", 1024, "cuda", 8, SAME_SPEED),
    Task(
        *("training", "vit_b", 1024, "cuda", 8),
        goals=(
            Goal("slices/s", 120, "bf16 /"),
            _at_most("GiB a slice", 1.3, "bf16 /"),
            Goal("times stock", 1.9, "last half against all blocks"),
        ),
    ),
)
"""The goals of the project's issue on speed, in its order: on 2 CPU cores, then on an H200."""
