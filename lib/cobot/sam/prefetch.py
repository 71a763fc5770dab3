"""Work done ahead, one step at a time, whenever nobody waits for an answer."""

import atexit
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

logger = logging.getLogger(__name__)


def outward(start: int, count: int, reach: int) -> list[int]:
    """Neighbours of an index, nearest first: the next, the one before, and so on.

    >>> outward(1, 5, 3)
    [2, 0, 3, 4]

    Args:
        start: the index itself, which is left out.
        count: of all; indices run from 0 to count - 1.
        reach: how far to go, either way.
    """
    both_ways = (start + sign * step for step in range(1, reach + 1) for sign in (1, -1))
    return [index for index in both_ways if 0 <= index < count]


@final
class Prefetcher:
    """One background thread that follows each viewer's plan while no request is being answered.

    A plan is an iterator that does one step of work each time it is asked. Viewers take turns. A
    step that has begun is finished, so a request is delayed by one step at most.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._plans: OrderedDict[str, Iterator[object]] = OrderedDict()
        self._requests = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def follow(self, viewer: str, plan: Iterator[object]) -> None:
        """Follow a plan instead of the viewer's last one; after `close` nothing is followed."""
        with self._changed:
            if self._closed:
                return
            self._plans[viewer] = plan
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
                self._thread.start()
                # A thread still computing while the interpreter goes down would crash it.
                atexit.register(self.close)
            self._changed.notify_all()

    def forget(self, viewer: str | None = None) -> None:
        """Drop a viewer's plan, or everyone's."""
        with self._changed:
            if viewer is None:
                self._plans.clear()
            else:
                self._plans.pop(viewer, None)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Begin no step within the block; blocks may overlap."""
        with self._changed:
            self._requests += 1
        try:
            yield
        finally:
            with self._changed:
                self._requests -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Finish the step that has begun, and end the thread; may be repeated."""
        with self._changed:
            self._closed = True
            self._plans.clear()
            self._changed.notify_all()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
            atexit.unregister(self.close)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._may_go_on)
                if self._closed:
                    return
                viewer, plan = next(iter(self._plans.items()))
            more = _step(plan)
            with self._changed:
                if self._plans.get(viewer) is plan:
                    self._plans.move_to_end(viewer)
                    if not more:
                        del self._plans[viewer]

    def _may_go_on(self) -> bool:
        return self._closed or bool(self._plans and not self._requests)


def _step(plan: Iterator[object]) -> bool:
    """Do one step; tell whether there may be more."""
    try:
        next(plan)
    except StopIteration:
        return False
    except Exception as error:  # noqa: BLE001 (nobody waits for it; who asks for it will be told)
        logger.warning("Work ahead was given up: %s", type(error).__name__)
        return False
    return True
