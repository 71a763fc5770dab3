"""Work ahead: nearest first, one step at a time, after every request, gone when it is dropped."""

import logging
import threading

import pytest
from cobot.sam.prefetch import Prefetcher, outward
from hypothesis import given
from hypothesis import strategies as st

WAIT_S = 20


@pytest.fixture
def prefetcher():
    made = Prefetcher()
    yield made
    made.close()


class Steps:
    """A plan whose steps begin when the worker comes and end when the test lets them."""

    def __init__(self, count=1000):
        self.left = count
        self.done = 0
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        self.left -= 1
        self.begun.release()
        assert self.may_end.acquire(timeout=WAIT_S)
        self.done += 1

    def wait(self):
        assert self.begun.acquire(timeout=WAIT_S)


@given(start=st.integers(0, 30), more=st.integers(1, 30), reach=st.integers(0, 40))
def test_neighbours_are_each_within_reach_once_and_nearest_first(start, more, reach):
    found = outward(start, start + more, reach)
    within = {k for k in range(start + more) if 0 < abs(k - start) <= reach}
    assert set(found) == within
    assert len(found) == len(within)
    distances = [abs(k - start) for k in found]
    assert distances == sorted(distances)


def test_steps_run_one_after_the_other_in_one_thread(prefetcher):
    threads, finished = set(), threading.Event()

    def plan():
        for _ in range(5):
            threads.add(threading.current_thread().name)
            yield
        finished.set()

    prefetcher.follow("", plan())
    assert finished.wait(WAIT_S)
    assert threads == {"prefetch"}


def test_a_new_plan_replaces_the_viewers_old_one_after_the_step_begun(prefetcher):
    old, new = Steps(), Steps(1)
    prefetcher.follow("", old)
    old.wait()
    prefetcher.follow("", new)
    old.may_end.release()
    new.wait()
    assert old.done == 1
    new.may_end.release()
    prefetcher.close()
    assert (old.left, new.done) == (999, 1)


def test_viewers_take_turns(prefetcher):
    order, ends = [], {viewer: threading.Event() for viewer in "ab"}

    def plan(viewer):
        for _ in range(3):
            order.append(viewer)
            yield
        ends[viewer].set()

    with prefetcher.paused():
        for viewer in "ab":
            prefetcher.follow(viewer, plan(viewer))
    assert all(end.wait(WAIT_S) for end in ends.values())
    assert order == ["a", "b", "a", "b", "a", "b"]


def test_no_step_begins_while_a_request_runs(prefetcher):
    steps = Steps()
    with prefetcher.paused(), prefetcher.paused():
        prefetcher.follow("", steps)
        assert not steps.begun.acquire(timeout=0.05)
    steps.wait()
    with prefetcher.paused():
        steps.may_end.release()
        assert not steps.begun.acquire(timeout=0.05)
        assert steps.done == 1
    steps.wait()
    prefetcher.forget("")
    steps.may_end.release()


def test_forgetting_one_viewer_or_all(prefetcher):
    with prefetcher.paused():
        one, other = Steps(), Steps()
        prefetcher.follow("one", one)
        prefetcher.follow("other", other)
        prefetcher.forget("one")
        prefetcher.forget("nobody")
    other.wait()
    prefetcher.forget()
    other.may_end.release()
    prefetcher.close()
    assert (one.done, other.done) == (0, 1)


def test_a_failing_step_ends_its_plan_and_nothing_else(prefetcher, caplog):
    def failing():
        raise MemoryError("no room for study Miller")
        yield

    finished = threading.Event()

    def plan():
        yield
        finished.set()

    with caplog.at_level(logging.WARNING), prefetcher.paused():
        prefetcher.follow("bad", failing())
        prefetcher.follow("good", plan())
    assert finished.wait(WAIT_S)
    prefetcher.close()
    assert "given up: MemoryError" in caplog.text
    assert "Miller" not in caplog.text


def test_closing_waits_for_the_step_begun_and_is_for_good(prefetcher):
    steps = Steps()
    prefetcher.follow("", steps)
    steps.wait()
    closing = threading.Thread(target=prefetcher.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    steps.may_end.release()
    closing.join(WAIT_S)
    assert not closing.is_alive()
    assert steps.done == 1
    prefetcher.close()
    prefetcher.follow("", Steps())
    assert all(thread.name != "prefetch" for thread in threading.enumerate())
