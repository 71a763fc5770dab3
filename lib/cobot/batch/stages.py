"""Three stages at once: reading ahead, segmenting, writing behind, within a memory budget."""

import queue
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import final

from cobot.batch.asking import PromptSource
from cobot.batch.budget import MemoryBudget
from cobot.batch.plan import PlannedCase
from cobot.batch.reading import FailedCase, PreparedCase, memory_wanted, prepare
from cobot.batch.record import CaseRecord
from cobot.batch.segmenting import CaseOutcome, CaseSegmenter
from cobot.batch.settings import CaseSettings
from cobot.batch.writing import CaseWriter
from cobot.errors import GridMismatchError, ImageReadError

Report = Callable[[CaseRecord], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process may take.

    Attributes:
        memory_bytes: of the volumes that are read, segmented and written.
        jobs: threads that read, and as many that write.
    """

    memory_bytes: int = 4 * 2**30
    jobs: int = 2


@dataclass(slots=True)
class StageTimes:
    """Seconds that the model was at work, and that it waited for a case to be read."""

    working: float = 0.0
    waiting: float = 0.0
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Coming:
    """A case that is being read, and the bytes taken for it."""

    planned: PlannedCase
    memory_bytes: int
    result: "Future[PreparedCase | FailedCase]"


@final
class Stages:
    """Segments cases in one process.

    The calling thread runs the model; a feeder takes memory for the next cases in their order and
    has them read; writers follow. Memory taken for a case is given back when it is written.
    """

    def __init__(
        self,
        stream: CaseSegmenter,
        source: PromptSource,
        settings: CaseSettings,
        writer: CaseWriter,
        limits: Limits,
    ) -> None:
        """Bring the parts together; nothing begins."""
        self._stream = stream
        self._source = source
        self._settings = settings
        self._writer = writer
        self._limits = limits
        self.times = StageTimes()

    def run(self, cases: Sequence[PlannedCase], report: Report) -> None:
        """Segment and write cases; `report` hears of each, from the writers' threads.

        Raises:
            ImageWriteError: a result could not be written; the cases under way are given up.
        """
        budget = MemoryBudget(self._limits.memory_bytes)
        with self._reading(cases, budget) as coming, self._writing(budget, report) as write:
            held: dict[str, _Coming] = {}
            started = time.perf_counter()
            for outcome in self._stream.segment(self._arrivals(coming, held)):
                name = _name_of(outcome)
                write(held.pop(name), outcome)
            self.times.working += time.perf_counter() - started - self.times.waiting
        self.times.peak_bytes = budget.peak_bytes

    def _arrivals(
        self, coming: "queue.SimpleQueue[_Coming | None]", held: dict[str, _Coming]
    ) -> Iterator[PreparedCase | FailedCase]:
        """Cases as they have been read; what they hold is noted in `held`."""
        while True:
            began = time.perf_counter()
            next_case = coming.get()
            if next_case is None:
                return
            prepared = next_case.result.result()
            self.times.waiting += time.perf_counter() - began
            held[next_case.planned.case.name] = next_case
            yield prepared

    @contextmanager
    def _reading(
        self, cases: Iterable[PlannedCase], budget: MemoryBudget
    ) -> Iterator["queue.SimpleQueue[_Coming | None]"]:
        coming: queue.SimpleQueue[_Coming | None] = queue.SimpleQueue()
        with (
            ThreadPoolExecutor(self._limits.jobs, thread_name_prefix="read") as readers,
            ThreadPoolExecutor(1, thread_name_prefix="feed") as feeder,
        ):

            def feed() -> None:
                try:
                    for planned in cases:
                        wanted = memory_wanted(planned.case)
                        if not budget.take(wanted):
                            break
                        result = readers.submit(prepare, planned.case, self._source, self._settings)
                        coming.put(_Coming(planned, wanted, result))
                finally:
                    # Whatever happened, nobody may wait for a case that never comes.
                    coming.put(None)

            feeding = feeder.submit(feed)
            try:
                yield coming
                feeding.result()
            finally:
                budget.close()
                wait([feeding])
                readers.shutdown(cancel_futures=True)

    @contextmanager
    def _writing(
        self, budget: MemoryBudget, report: Report
    ) -> Iterator[Callable[[_Coming, CaseOutcome], None]]:
        crew = _Writers(self._writer, budget, report, self._limits.jobs)
        try:
            yield crew.submit
            crew.finish()
        finally:
            crew.abandon()


@dataclass(slots=True, eq=False)
class _Writers:
    """Threads that write; the first error stops the run at its next case."""

    writer: CaseWriter
    budget: MemoryBudget
    report: Report
    jobs: int
    under_way: list["Future[None]"] = field(default_factory=list)
    pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.pool = ThreadPoolExecutor(self.jobs, thread_name_prefix="write")

    def submit(self, coming: _Coming, outcome: CaseOutcome) -> None:
        """Write an outcome soon; raises what an earlier one met."""
        for done in [one for one in self.under_way if one.done()]:
            self.under_way.remove(done)
            done.result()
        self.under_way.append(self.pool.submit(self._write, coming, outcome))

    def finish(self) -> None:
        """Wait for all; raises what one of them met."""
        for one in self.under_way:
            one.result()

    def abandon(self) -> None:
        """End the threads; what has not begun is not written."""
        self.pool.shutdown(cancel_futures=True)

    def _write(self, coming: _Coming, outcome: CaseOutcome) -> None:
        try:
            prompts = coming.planned.prompts_sha256
            self.report(self._written(outcome, prompts))
        finally:
            self.budget.give_back(coming.memory_bytes)

    def _written(self, outcome: CaseOutcome, prompts_sha256: str) -> CaseRecord:
        if isinstance(outcome, FailedCase):
            return self.writer.failed(outcome, prompts_sha256)
        case = outcome.prepared
        try:
            return self.writer.write(outcome, prompts_sha256)
        except (ImageReadError, GridMismatchError) as error:
            # The image went away or changed under our hands: its own trouble, not the run's.
            failed = FailedCase(case.case, str(error), case.fingerprint)
            return self.writer.failed(failed, prompts_sha256)


def _name_of(outcome: CaseOutcome) -> str:
    return outcome.case.name if isinstance(outcome, FailedCase) else outcome.prepared.case.name
