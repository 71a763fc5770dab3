"""A trainer in Slicer: adapters learn from the labels submitted to this server.

`get_ready` runs in the server, before MONAI Label starts the training's own process; `__call__`
runs in that process, where the whole app has been made again.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cobot.adapters.choice import ACTIVE
from cobot.adapters.store import AdapterStore
from cobot.errors import CobotError, ConfigError
from cobot.sam.device import choose_device
from cobot.server.training_cases import TrainingCases, training_cases
from cobot.server.training_report import TrainingReport, read_report, write_report
from cobot.server.training_routes import is_training
from cobot.server.worker import end_with_server
from cobot.training.task import TrainingTask
from filelock import FileLock, Timeout
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from lib.trainers.options import TrainingOptions, offered, read_options

if TYPE_CHECKING:
    from cobot.training.loop import TrainingProgress
    from cobot.training.request import TrainingRequest
    from cobot.training.train import TrainingOutcome

LOCK_NAME = ".training.lock"
LOCK_WAIT_S = 10
"""A process that was just killed gives its lock back within moments."""

REPORT_EVERY_S = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingPlace:
    """Where a trainer reads and writes, and on what.

    Attributes:
        studies: a MONAI Label datastore on this machine.
        store: folder of adapter versions.
        model: tiny, vit_b, vit_l or vit_h.
        weights: another file of that model.
        device: the server's: auto, cpu, cuda or cuda:N.
    """

    studies: Path
    store: Path
    model: str
    weights: Path | None
    device: str


class AdapterTrainer(TrainTask):
    """Learns the structures of one data set; holds plain values, so that it can be pickled."""

    def __init__(self, task: TrainingTask, place: TrainingPlace) -> None:
        """Offer the trainer; nothing is loaded."""
        structures = ", ".join(list(task.labels.values())[:4])
        more = ", ..." if len(task.labels) > 4 else ""
        super().__init__(f"SAM-COBOT adapters for {structures}{more}, from submitted labels")
        self._task = task
        self._place = place

    def config(self) -> dict[str, object]:
        """What Slicer's Options offer."""
        return offered(self._place.device)

    def stats(self) -> dict[str, object]:
        """The last run's figures, in the keys Slicer reads; nothing before the first."""
        report = read_report(self._report_path)
        return {} if report is None else report.seen_now(is_training()).to_dict()

    def get_ready(self, request: dict[str, Any]) -> None:
        """Check that a training can begin, and note that it does.

        Raises:
            CobotError: it cannot; the message says the cure.
        """
        options = read_options(request)
        if options.device == "cuda":
            choose_device("cuda")
        cases = training_cases(self._place.studies, self._task.labels)
        if options.continue_active:
            self._require_active()
        epochs = options.training_recipe.epochs
        # The report of a training that another server runs there is not this one's to replace.
        with self._alone():
            write_report(TrainingReport.starting(epochs, cases.notes), self._report_path)

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, object]:
        """Train, and publish what is not worse than the active version; returns the figures.

        Raises:
            CobotError: the message says what is wrong with the data or settings.
        """
        end_with_server()
        options = read_options(request)
        with self._alone():
            cases = training_cases(self._place.studies, self._task.labels)
            reporter = _Reporter(self._report_path, options, cases.notes)
            with reporter.failures():
                # Here, because it takes seconds and the server itself never needs it.
                from cobot.training.train import train_adapter

                for note in cases.notes:
                    logger.info(note)
                request = _training_request(options, cases, self._task, self._place)
                outcome = train_adapter(request, reporter.progress, logger.info)
                unlearnt = self._learn_auto(request, outcome) if options.auto else ""
                return reporter.finish(outcome, unlearnt)

    def _learn_auto(self, request: "TrainingRequest", outcome: "TrainingOutcome") -> str:
        """Learn to segment without a click; what went wrong, in a sentence, else nothing.

        The adapter answers clicks by then, so the training has not failed.
        """
        from cobot.auto.files import FILE_NAME
        from cobot.auto.train import train_auto

        version = outcome.verdict.version
        if not version or (self._place.store / version / FILE_NAME).exists():
            return ""
        logger.info("Learning to segment without a click, on %s.", version)
        try:
            train_auto(request, version)
        except CobotError as error:
            return f"Segmenting without a click was not learnt: {error}"
        return ""

    def _require_active(self) -> None:
        if AdapterStore(self._place.store).active() is None:
            raise ConfigError(
                "No adapter is active yet, so there is none to go on with; switch the option "
                "continue_active off."
            )

    @property
    def _report_path(self) -> Path:
        return self._place.store / "trainers" / f"{self._task.name}.json"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other server's training writes to the store meanwhile.

        Raises:
            ConfigError: one does.
        """
        self._place.store.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._place.store / LOCK_NAME)
        try:
            lock.acquire(timeout=LOCK_WAIT_S)
        except Timeout:
            raise ConfigError(
                f"Another server's training writes to {self._place.store}; wait for it, stop it "
                "there, or start this server with another --store."
            ) from None
        try:
            yield
        finally:
            lock.release()


def _training_request(
    options: TrainingOptions, cases: TrainingCases, task: TrainingTask, place: TrainingPlace
) -> "TrainingRequest":
    from cobot.training.hardware import Hardware
    from cobot.training.request import TrainingRequest

    return TrainingRequest(
        data=place.studies,
        task=task,
        store=place.store,
        adapter=options.adapter,
        recipe=options.training_recipe,
        base=place.model,
        weights=place.weights,
        seed=options.seed,
        side_px=options.side_px,
        validation_fraction=options.val_split,
        begin_with=ACTIVE if options.continue_active else None,
        hardware=Hardware(device=options.device),
        cache_bytes=int(options.cache_gib * 2**30),
        left_out=frozenset(cases.left_out),
        must_hold_out=True,
    )


class _Reporter:
    """Writes the report of a training while it runs, at most once a second."""

    def __init__(self, path: Path, options: TrainingOptions, notes: Sequence[str]) -> None:
        epochs = options.training_recipe.epochs
        self._path = path
        self._report = TrainingReport.starting(epochs, notes).running(0, epochs, 0.0)
        self._written = time.monotonic()
        write_report(self._report, path)

    def progress(self, now: "TrainingProgress") -> None:
        """Take over what the loop tells after a step or a measurement."""
        measured = now.epoch != self._report.stats.epoch
        self._report = self._report.running(now.epoch, now.epochs, now.best_dice)
        if measured or time.monotonic() - self._written > REPORT_EVERY_S:
            self._written = time.monotonic()
            write_report(self._report, self._path)

    def finish(self, outcome: "TrainingOutcome", more: str = "") -> dict[str, object]:
        """Note how it ended, and what else to say; returns the figures as MONAI Label logs them."""
        verdict, history = outcome.verdict, outcome.history
        best = max((scores.mean for scores in history), default=0.0)
        epochs = self._report.stats.total_epochs
        state = "published" if verdict.version else "not better"
        self._report = self._report.running(len(history), epochs, best).ended(
            state, " ".join(filter(None, (verdict.reason, outcome.note, more))), verdict.version
        )
        write_report(self._report, self._path)
        champion = verdict.champion.scores
        return {
            **self._report.to_dict(),
            "dice": verdict.challenger.mean,
            "champion": verdict.champion.name,
            "champion_dice": champion.mean if champion else None,
        }

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Note a failure for the user who looks, and let it pass."""
        try:
            yield
        except Exception as error:
            known = isinstance(error, CobotError)
            message = (
                str(error) if known else f"{type(error).__name__}; the server's log says more."
            )
            write_report(self._report.ended("failed", message), self._path)
            raise
