"""What `cobot segment` shows: a bar with rate and time left, failures as they come, a summary."""

from pathlib import Path
from types import TracebackType
from typing import final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.table import Table

from cobot.batch.inputs import Inputs
from cobot.batch.record import MANIFEST_NAME, CaseRecord
from cobot.batch.run import Plan, Summary

SHOWN = 20
"""Failures listed at the end; the manifest has all."""


@final
class Screen:
    """Tells the user how a run goes; in a log file, a line for each image and no bar."""

    def __init__(self, console: Console | None = None) -> None:
        """Show things on the standard output unless another console is given."""
        self._console = console or Console()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._total = 0
        self._ended = 0

    def __enter__(self) -> "Screen":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def status(self, text: str) -> Status:
        """A line that turns while something takes its time."""
        return self._console.status(text)

    def found(self, inputs: Inputs) -> None:
        """Say what the inputs are."""
        faults = sum(one.is_fault for one in inputs.unusable)
        count = len(inputs.cases)
        self.say(
            f"{count} image{'' if count == 1 else 's'}; "
            f"{len(inputs.unusable) - faults} skipped as no volumes, {faults} unusable"
        )
        if inputs.passed_over:
            kinds = ", ".join(
                f"{count} x {suffix or 'no suffix'}"
                for suffix, count in sorted(inputs.passed_over.items())
            )
            self.say(f"Other files, passed over: {kinds}")

    def looked_at(self, number: int) -> None:
        """Nothing is shown: it is quick."""

    def begin(self, plan: Plan) -> None:
        """Start the bar."""
        self._total = len(plan.work)
        finished = sum(one.action in ("finished", "adopt") for one in plan.cases)
        self.say(f"{self._total} to segment, {finished} finished before")
        self._task = self._bar.add_task("segmenting", total=self._total, rate="")

    def settled(self, record: CaseRecord) -> None:
        """Only failures are told, at the end."""

    def outcome(self, record: CaseRecord) -> None:
        """Move the bar, and show a failure at once."""
        self._ended += 1
        if record.status == "failed":
            self.say(f"failed: {record.case}: {record.error}")
        elif not self._console.is_terminal:
            seconds = record.seconds.get("segment", 0.0)
            self.say(f"[{self._ended}/{self._total}] {record.case}: segmented in {seconds:.2f} s")
        if self._task is not None:
            self._bar.advance(self._task)
            speed = self._bar.tasks[self._task].speed
            if speed:
                self._bar.update(self._task, rate=f"{1 / speed:.2f} s/image")

    def say(self, text: str) -> None:
        """A line of plain text."""
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)

    def show_plan(self, plan: Plan) -> None:
        """The table of a dry run."""
        table = Table("case", "input", "would be", "why")
        words = {"segment": "segmented", "again": "segmented again", "refused": "refused"}
        for one in plan.cases:
            what = words.get(one.action, "left as it is")
            table.add_row(one.case.name, one.case.relative, what, one.why)
        for record in plan.unusable:
            what = "reported as failed" if record.status == "failed" else "skipped"
            table.add_row(record.case, record.input, what, record.error or "")
        self._console.print(table)
        self.say(f"{len(plan.work)} of {len(plan.cases)} would be segmented. Nothing was done.")

    def show_summary(self, summary: Summary, out: Path) -> None:
        """Counts, the failures again, and where everything is."""
        self.say(", ".join(f"{count} {what}" for what, count in sorted(summary.counts.items())))
        for record in summary.failed[:SHOWN]:
            self.say(f"  failed: {record.case}: {record.error}")
        if len(summary.failed) > SHOWN:
            self.say(f"  and {len(summary.failed) - SHOWN} more")
        self.say(f"Masks are in {out}, the list of all outcomes in {out / MANIFEST_NAME}")
