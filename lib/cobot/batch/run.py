"""A whole run: find out what is to be done, do it, write it down."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from cobot.batch.asking import PromptSource
from cobot.batch.case_folder import sweep
from cobot.batch.inputs import Inputs
from cobot.batch.manifest import Manifest, alone_in, read_manifest
from cobot.batch.model import RunModel
from cobot.batch.outputs import WantedFiles
from cobot.batch.plan import PlannedCase, Planner
from cobot.batch.reading import FailedCase
from cobot.batch.record import CaseRecord
from cobot.batch.settings import CaseSettings
from cobot.batch.stages import Report
from cobot.batch.writing import CaseWriter
from cobot.errors import ConfigError
from cobot.io.dicom_algorithm import Algorithm


@dataclass(frozen=True, slots=True)
class Job:
    """What a run is about.

    Attributes:
        inputs: the images.
        out: the output folder.
        source: of the prompts.
        settings: of every case.
        retry_failed: try failed cases again although nothing has changed.
    """

    inputs: Inputs
    out: Path
    source: PromptSource
    settings: CaseSettings = CaseSettings()
    retry_failed: bool = False


@runtime_checkable
class Engine(Protocol):
    """Something that segments cases, here or elsewhere."""

    def run(self, cases: Sequence[PlannedCase], report: Report) -> None:
        """Segment and write cases; `report` hears of each, from any thread."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        cases: every case with what is to be done.
        unusable: records of what is no image to segment.
    """

    cases: tuple[PlannedCase, ...]
    unusable: tuple[CaseRecord, ...]

    @property
    def work(self) -> tuple[PlannedCase, ...]:
        """The cases to segment now."""
        return tuple(one for one in self.cases if one.is_work)


@dataclass(slots=True)
class Summary:
    """What became of a run's cases.

    Attributes:
        counts: done, failed, skipped; and each with " before" where an earlier run said so.
        records: the present record of every case.
    """

    counts: Counter[str] = field(default_factory=Counter)
    records: dict[str, CaseRecord] = field(default_factory=dict)

    def add(self, record: CaseRecord, kind: str) -> None:
        """Count a case."""
        self.records[record.case] = record
        self.counts[kind] += 1

    @property
    def failed(self) -> tuple[CaseRecord, ...]:
        """Records of the cases that failed, now or before."""
        return tuple(one for one in self.records.values() if one.status == "failed")


MakeEngine = Callable[[CaseWriter], Engine]


def plan_run(job: Job, model: RunModel, progress: Callable[[int], None] | None = None) -> Plan:
    """Compare the inputs with what the output folder holds; nothing is written.

    Args:
        job: the run.
        model: whose weights and adapter count.
        progress: told how many cases were looked at.

    Raises:
        ConfigError: a result would take the place of an image.
    """
    _require_apart(job)
    planner = Planner(
        job.out,
        read_manifest(job.out),
        model.settings_sha256(job.settings),
        job.source,
        job.retry_failed,
    )
    cases = []
    for number, case in enumerate(job.inputs.cases, start=1):
        cases.append(planner.plan(case))
        if progress is not None:
            progress(number)
    writer = case_writer(job, model)
    return Plan(tuple(cases), tuple(writer.unusable(one) for one in job.inputs.unusable))


def _require_apart(job: Job) -> None:
    """Refuse results in the place of what they are made of.

    Raises:
        ConfigError: names the first.
    """
    for case in job.inputs.cases:
        home = Path(os.path.realpath(job.out / case.name))
        # Path.resolve raises at links that lead in a circle.
        held = {os.path.realpath(folder) for folder in {file.parent for file in case.files}}
        held.add(os.path.dirname(os.path.realpath(case.path)))
        if any(home in (Path(folder), *Path(folder).parents) for folder in held):
            raise ConfigError(
                f"The result of {case.path} would take the place of {home}, which holds the image "
                "itself; name another --output folder."
            )


def case_writer(job: Job, model: RunModel) -> CaseWriter:
    """What writes the cases of a run."""
    settings, source = job.settings, job.source
    adapter = "" if model.adapter is None else model.adapter.config.name
    return CaseWriter(
        job.out,
        WantedFiles(
            settings.separate,
            settings.dicom_seg,
            settings.rtstruct,
            Algorithm(adapter, automatic=model.prompts is not None),
        ),
        model.settings_sha256(settings),
        lambda window: model.provenance(settings, source.describe(), window),
    )


@runtime_checkable
class Watcher(Protocol):
    """Hears how a run goes."""

    def looked_at(self, number: int) -> None:
        """So many cases were compared with the output folder."""
        ...

    def begin(self, plan: Plan) -> None:
        """Work begins."""
        ...

    def settled(self, record: CaseRecord) -> None:
        """A case needs no work: it is finished, refused or skipped."""
        ...

    def outcome(self, record: CaseRecord) -> None:
        """A case was worked on and has come to its end; one call at a time, from any thread."""
        ...


def run_job(job: Job, model: RunModel, make_engine: MakeEngine, watcher: Watcher) -> Summary:
    """Do what is to be done; may be killed at any moment and called again.

    Raises:
        ConfigError: another run is writing into the output folder.
        ImageWriteError: nothing can be written there; finished cases are kept.
    """
    with alone_in(job.out):
        sweep(job.out)
        before = read_manifest(job.out)
        plan = plan_run(job, model, watcher.looked_at)
        manifest, summary, writer = Manifest(job.out), Summary(), case_writer(job, model)
        taking_turns = threading.Lock()

        def report(record: CaseRecord) -> None:
            with taking_turns:
                manifest.append(record)
                summary.add(record, record.status)
                watcher.outcome(record)

        watcher.begin(plan)
        for record in _settled(plan, writer):
            known = _says_the_same(before.get(record.case), record)
            if not known:
                manifest.append(record)
            summary.add(record, f"{record.status} before" if known else record.status)
            watcher.settled(record)
        make_engine(writer).run(plan.work, report)
        return summary


def _settled(plan: Plan, writer: CaseWriter) -> Iterator[CaseRecord]:
    """Records of everything that is not to be segmented now."""
    for planned in plan.cases:
        if planned.action == "refused":
            unchanged = planned.record is not None and planned.record.error == planned.why
            failed = FailedCase(planned.case, planned.why)
            fresh = writer.failed(failed, planned.prompts_sha256)
            yield planned.record if unchanged and planned.record else fresh
        elif planned.record is not None and not planned.is_work:
            yield planned.record
    yield from plan.unusable


def _says_the_same(before: CaseRecord | None, now: CaseRecord) -> bool:
    """Whether the manifest already says so; the time alone is no news."""
    if before is None:
        return False
    changes = {"finished_at": before.finished_at}
    return now.model_copy(update=changes) == before
