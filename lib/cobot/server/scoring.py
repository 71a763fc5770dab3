"""Scores of the studies, computed in the server's own process while nobody waits for an answer."""

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

from cobot.errors import AdapterError, CobotError
from cobot.intensity import window_rule
from cobot.io import read_volume
from cobot.planes import plane_across
from cobot.selection.case_scores import CaseScores
from cobot.selection.score_case import score_case
from cobot.server.engine import K_AXIS, InUse
from cobot.server.scored_model import ScoredModel, WantedScores

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 3.0
"""For images that came and adapters that were activated: a look at each file's date."""

TROUBLE_S = 30.0
"""Until the next attempt, where the model or the disk is what is wrong."""

QUIET_S = 2.0
"""After an answer: who clicks once soon clicks again."""

BUSY_AGAIN_S = 5.0
"""Between looks whether a training is over."""

NICER = 3
"""Half the share of the server's other threads where the processor is taken. Lower still, and they
would wait long for what this thread holds: Python's own lock, or a turn at the model."""


def never() -> bool:
    """Nothing else is going on."""
    return False


@dataclass(frozen=True, slots=True)
class ScoringStatus:
    """Where the scoring stands.

    Attributes:
        images: in the studies.
        scored: of them, under the model that is wanted now.
        unreadable: names of images that cannot be scored; tried again when they change.
        adapter: version that is wanted; None is the base.
        running: an image is being scored.
        trouble: why nothing can be scored; empty if nothing is wrong.
    """

    images: int
    scored: int
    unreadable: tuple[str, ...]
    adapter: str | None
    running: bool
    trouble: str


class _ClosingError(Exception):
    """The server is closing."""


@final
class BackgroundScoring:
    """One thread that scores what has no scores of the wanted model, image by image.

    It yields to requests between pieces of work of a tenth of a second or so (one slice in the
    encoder, or a few prompts in the decoder), uses the model that answers clicks, and begins again
    when another adapter is activated or an image comes or changes. What it finished is on the
    disk, so it goes on after a restart. The model is loaded only if something has no scores. While
    a training runs it rests: the processor is taken, and the scores may be worthless afterwards.
    """

    def __init__(
        self,
        scores: WantedScores,
        in_use: Callable[[], InUse],
        images: Callable[[], Mapping[str, Path]],
        busy: Callable[[], bool] = never,
        quiet_s: float = QUIET_S,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            scores: which are wanted, and where they are kept.
            in_use: the model that answers; loads it if nothing did yet.
            images: name to file, the most urgent first.
            busy: whether a training runs.
            quiet_s: how long nobody must have asked anything.
        """
        self._scores, self._in_use, self._images = scores, in_use, images
        self._busy, self._quiet_s = busy, quiet_s
        self._changed = threading.Condition()
        self._requests, self._last_request_s = 0, float("-inf")
        self._ended, self._woken = False, False
        self._running, self._trouble = False, ""
        self._unreadable: dict[str, str] = {}
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin in the background; may be repeated."""
        with self._changed:
            if self._thread is None and not self._ended:
                self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)
                self._thread.start()
                # A thread still computing while the interpreter goes down would crash it.
                atexit.register(self.close)

    def wake(self) -> None:
        """Look now instead of in a few seconds, and try unreadable images again."""
        with self._changed:
            self._woken = True
            self._unreadable.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """End after the piece of work it is at; may be repeated."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
            atexit.unregister(self.close)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Begin no piece of work within the block; blocks may overlap."""
        with self._changed:
            self._requests += 1
        try:
            yield
        finally:
            with self._changed:
                self._requests -= 1
                self._last_request_s = time.monotonic()
                self._changed.notify_all()

    def status(self) -> ScoringStatus:
        """Where it stands; never waits for the model."""
        images = dict(self._images())
        try:
            adapter, trouble = self._scores.model().adapter, self._trouble
        except CobotError as error:
            adapter, trouble = None, str(error)
        scored = sum(one is not None for one in self._scores.of(images).values())
        unreadable = tuple(sorted(set(self._unreadable) & set(images)))
        return ScoringStatus(len(images), scored, unreadable, adapter, self._running, trouble)

    def _run(self) -> None:
        while True:
            try:
                self._look()
                self._trouble = ""
            except _ClosingError:
                return
            except CobotError as error:
                self._trouble = str(error)
            except Exception as error:
                self._trouble = f"{type(error).__name__}; the server's log says more."
                logger.warning("Scoring failed, and is tried again", exc_info=error)
            with self._changed:
                seconds = TROUBLE_S if self._trouble else LOOK_EVERY_S
                self._changed.wait_for(lambda: self._ended or self._woken, seconds)
                self._woken = False
                if self._ended:
                    return

    def _look(self) -> None:
        """Score what has no scores, until everything has or another model is wanted.

        Raises:
            CobotError: the model cannot be used, or the disk refuses.
        """
        images, model = dict(self._images()), self._scores.model()
        for image_id in self._scores.missing(images.items(), model):
            self._turn()
            key = self._scores.key(images[image_id], model)
            if self._unreadable.get(image_id) == key.digest:
                continue
            in_use = self._in_use()
            if in_use.adapter != model.adapter and in_use.trouble:
                raise AdapterError(in_use.trouble)
            if in_use.adapter != model.adapter or self._scores.model() != model:
                return
            scores = self._tried(image_id, images[image_id], in_use, model)
            if scores is None:
                self._unreadable[image_id] = key.digest
            else:
                self._scores.keep(image_id, key, scores)

    def _tried(
        self, image_id: str, image: Path, in_use: InUse, model: ScoredModel
    ) -> CaseScores | None:
        """The scores of an image; None if it has something wrong: the others go on."""
        self._running = True
        try:
            scores = at_low_priority(lambda: self._computed(image, in_use, model))
            self._unreadable.pop(image_id, None)
            return scores
        except _ClosingError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever is wrong with one, the next may be right)
            # By its kind alone: messages name files, and files may name patients.
            logger.warning("An image cannot be scored: %s", type(error).__name__)
            return None
        finally:
            self._running = False

    def _computed(self, image: Path, in_use: InUse, model: ScoredModel) -> CaseScores:
        volume = read_volume(image)
        window = window_rule(self._scores.window, volume).resolve(volume)
        plane = plane_across(volume.affine, K_AXIS)
        return score_case(volume, plane, window, in_use.segmenter, model.settings, self._turn)

    def _turn(self) -> None:
        """Wait until nobody waits for an answer.

        Raises:
            _ClosingError: the server is closing.
        """
        with self._changed:
            while not self._ended and (left_s := self._not_yet_s()) > 0:
                self._changed.wait(left_s)
            if self._ended:
                raise _ClosingError

    def _not_yet_s(self) -> float:
        """Seconds to wait before looking again; none if it is our turn."""
        if self._requests:
            return 60.0
        if self._busy():
            return BUSY_AGAIN_S
        return self._last_request_s + self._quiet_s - time.monotonic()


def at_low_priority(work: Callable[[], CaseScores]) -> CaseScores:
    """What work brings, in a thread of its own that gives way to others; raises what it raises.

    Of its own, because a priority that was lowered cannot be raised again, and whoever loads a
    model or puts an adapter into use, which requests wait for, must not be slow at it.
    """
    done: Future[CaseScores] = Future()

    def run() -> None:
        lower_priority()
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 (raised again where it is waited for)
            done.set_exception(error)

    threading.Thread(target=run, name="scoring an image", daemon=True).start()
    return done.result()


def lower_priority(by: int = NICER) -> None:
    """Let the calling thread, and those it will start, give way to the others; on Linux alone."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        nice = min(19, os.getpriority(os.PRIO_PROCESS, thread) + by)
        os.setpriority(os.PRIO_PROCESS, thread, nice)
