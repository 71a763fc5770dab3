"""Cases by workers of a Ray cluster: each holds the model once, and may die.

Only this module knows Ray. Workers write case folders themselves, onto a disk that all nodes share;
the process that started the run alone writes the manifest.
"""

import logging
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from cobot.batch.asking import PromptSource
from cobot.batch.fingerprint import looks_unchanged
from cobot.batch.inputs import Inputs
from cobot.batch.manifest import read_record
from cobot.batch.model import load_model
from cobot.batch.plan import PlannedCase
from cobot.batch.reading import FailedCase
from cobot.batch.record import CaseRecord
from cobot.batch.run import Job, case_writer
from cobot.batch.settings import CaseSettings, ModelChoice
from cobot.batch.stages import Limits, Report, Stages
from cobot.batch.writing import CaseWriter
from cobot.errors import CobotError, ConfigError

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
try:
    import ray
    from ray.exceptions import RayActorError, RayTaskError
except ModuleNotFoundError:
    raise ConfigError(
        "--engine ray needs Ray, which is not installed; install it with "
        "`pip install 'sam-cobot[ray]'`, or leave --engine out."
    ) from None

MOST_DEATHS = 3
"""So often may workers die with one case before it is given up: it may be what kills them."""

CASES_AT_ONCE = 8
"""The most cases a worker is handed together: reading and writing are hidden within them."""

OBJECT_STORE_BYTES = 100 * 2**20
"""Of a cluster started here: nothing but names and records travels."""


@dataclass(frozen=True, slots=True)
class WorkerOrder:
    """What a worker needs to begin; paths must be good on every node.

    Attributes:
        choice: the model.
        settings: of every case.
        source: of the prompts.
        out: the output folder.
        limits: of the worker's process.
    """

    choice: ModelChoice
    settings: CaseSettings
    source: PromptSource
    out: Path
    limits: Limits


@final
class CaseWorker:
    """One process with the model in memory."""

    def __init__(self, order: WorkerOrder) -> None:
        """Load the model."""
        self._order = order
        model = load_model(order.choice)
        job = Job(Inputs(()), order.out, order.source, order.settings)
        self._stream = model.stream(order.settings)
        self._writer = case_writer(job, model)

    def settings_sha256(self) -> str:
        """Of the model and settings as this worker has them."""
        return self._writer.settings_sha256

    def segment(self, cases: Sequence[PlannedCase]) -> list[CaseRecord]:
        """Segment and write cases."""
        order, records = self._order, list[CaseRecord]()
        stages = Stages(self._stream, order.source, order.settings, self._writer, order.limits)
        stages.run(cases, records.append)
        return records


@contextmanager
def ray_cluster() -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS names, or start one here that ends with the block."""
    here = not os.environ.get("RAY_ADDRESS") and not ray.is_initialized()
    own: dict[str, Any] = {
        "_node_ip_address": "127.0.0.1",
        "object_store_memory": OBJECT_STORE_BYTES,
        "include_dashboard": False,
        "address": "local",
    }
    try:
        ray.init(
            log_to_driver=False,
            logging_level=logging.ERROR,
            ignore_reinit_error=True,
            **(own if here else {}),
        )
    # Ray raises the bare class when it cannot start.
    except Exception as error:
        raise ConfigError(
            f"Ray could not be {'started here' if here else 'joined'}: {error} Start it by hand "
            "with `ray start --head`, set RAY_ADDRESS to what it says, and try again."
        ) from error
    try:
        yield
    finally:
        if here:
            ray.shutdown()


@dataclass(slots=True, eq=False)
class _Crew:
    """Workers, the cases each is at, and those that wait."""

    waiting: deque[tuple[PlannedCase, ...]]
    working: dict[Any, tuple[Any, tuple[PlannedCase, ...]]] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)


@final
class RayEngine:
    """Hands cases to workers, and what a dead worker had to the next."""

    def __init__(self, order: WorkerOrder, workers: int, writer: CaseWriter) -> None:
        """Bring the parts together; workers start with `run`."""
        self._order = order
        self._workers = workers
        self._writer = writer

    def run(self, cases: Sequence[PlannedCase], report: Report) -> None:
        """Segment and write cases.

        Raises:
            CobotError: a worker could not begin, or could not write.
        """
        crew = _Crew(deque(_portions(cases, self._workers)))
        idle = [self._worker() for _ in range(min(self._workers, len(crew.waiting)))]
        self._require_same_model(idle)
        while crew.waiting or crew.working:
            while idle and crew.waiting:
                self._begin(crew, idle.pop())
            (ready,), _ = ray.wait(list(crew.working), num_returns=1)
            worker, portion = crew.working.pop(ready)
            try:
                records = _get(ready)
            except RayActorError:
                self._after_death(crew, portion, report)
                worker = self._worker()
            else:
                for record in records:
                    report(record)
            idle.append(worker)

    def _begin(self, crew: _Crew, worker: Any) -> None:
        portion = crew.waiting.popleft()
        crew.working[worker.segment.remote(portion)] = (worker, portion)

    def _worker(self) -> Any:
        resources: Any = ray.cluster_resources
        total = resources()
        share = {
            "num_cpus": max(int(total.get("CPU", 1)) // self._workers, 1),
            "num_gpus": min(total.get("GPU", 0) / self._workers, 1),
        }
        if self._order.choice.device == "cpu":
            share["num_gpus"] = 0
        return ray.remote(**share)(CaseWorker).remote(self._order)

    def _require_same_model(self, workers: Sequence[Any]) -> None:
        """Refuse workers whose weights or adapter are other files under the same names."""
        try:
            found = _get([worker.settings_sha256.remote() for worker in workers])
        except RayActorError as error:
            raise ConfigError(
                f"A worker of the Ray cluster could not load the model: {error}. Weights and "
                "adapter must lie at the same paths on every node, with memory for each worker."
            ) from error
        for sha256 in found:
            if sha256 != self._writer.settings_sha256:
                raise ConfigError(
                    "A worker of the Ray cluster has other weights, another adapter or another "
                    "version of cobot than this process; install the same on every node."
                )

    def _after_death(self, crew: _Crew, portion: Sequence[PlannedCase], report: Report) -> None:
        """Report what the dead worker had finished, and hand on the rest, one by one."""
        for planned in portion:
            record = self._finished(planned)
            if record is not None:
                report(record)
                continue
            crew.deaths[planned.case.name] += 1
            if crew.deaths[planned.case.name] < MOST_DEATHS:
                crew.waiting.appendleft((planned,))
                continue
            error = (
                f"{MOST_DEATHS} workers died with {planned.case.path}; memory is the usual reason. "
                "Lower --max-memory or --batch, or give the workers more memory, and start again "
                "with --retry-failed."
            )
            report(self._writer.failed(FailedCase(planned.case, error), planned.prompts_sha256))

    def _finished(self, planned: PlannedCase) -> CaseRecord | None:
        """The record that a worker wrote before it died."""
        name = planned.case.name
        record = read_record(self._order.out / name / f"{name}.json")
        wanted = (self._writer.settings_sha256, planned.prompts_sha256)
        if record is None or (record.settings_sha256, record.prompts_sha256) != wanted:
            return None
        try:
            same = record.fingerprint and looks_unchanged(planned.case.files, record.fingerprint)
        except CobotError:
            return None
        return record if same else None


def _portions(cases: Sequence[PlannedCase], workers: int) -> list[tuple[PlannedCase, ...]]:
    """Cases in small portions, so that all workers end at about the same time."""
    size = min(max(len(cases) // (4 * workers), 1), CASES_AT_ONCE)
    return [tuple(cases[start : start + size]) for start in range(0, len(cases), size)]


def _get(reference: Any) -> Any:
    """What a worker answered; our refusals come back as they were."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, CobotError):
            raise error.cause from None
        raise
