"""Results of slow steps: made once, dropped oldest first."""

import threading

import pytest
from cobot.server.lru import Lru


def test_the_least_recently_used_goes_first():
    kept = Lru[str, int](limit=10, weigh=lambda value: value)
    for key, value in (("a", 4), ("b", 4), ("a", 4), ("c", 4)):
        kept.get_or_make(key, lambda value=value: value)
    assert kept.get_or_make("a", lambda: 0) == (4, True)
    assert kept.get_or_make("b", lambda: 1) == (1, False)


def test_a_value_too_heavy_is_returned_but_not_kept():
    kept = Lru[str, int](limit=10, weigh=lambda value: value)
    assert kept.get_or_make("a", lambda: 11) == (11, False)
    assert kept.get_or_make("a", lambda: 12) == (12, False)


def test_a_failure_is_not_kept():
    kept = Lru[str, int](limit=10, weigh=lambda value: value)
    with pytest.raises(ZeroDivisionError):
        kept.get_or_make("a", lambda: 1 // 0)
    assert kept.get_or_make("a", lambda: 1) == (1, False)


def test_two_threads_make_one_value():
    kept = Lru[str, int](limit=10, weigh=lambda value: value)
    made = []
    inside, go = threading.Event(), threading.Event()

    def make():
        inside.set()
        assert go.wait(10)
        made.append(1)
        return 1

    first = threading.Thread(target=kept.get_or_make, args=("a", make))
    first.start()
    assert inside.wait(10)
    second = threading.Thread(target=kept.get_or_make, args=("a", make))
    second.start()
    go.set()
    first.join(10)
    second.join(10)
    assert made == [1]


def test_a_slow_value_holds_up_nobody_who_wants_another():
    kept = Lru[str, int](limit=10, weigh=lambda value: value)
    inside, go = threading.Event(), threading.Event()

    def make():
        inside.set()
        assert go.wait(10)
        return 1

    slow = threading.Thread(target=kept.get_or_make, args=("slow", make))
    slow.start()
    assert inside.wait(10)
    assert kept.get_or_make("quick", lambda: 2) == (2, False)
    go.set()
    slow.join(10)
    assert kept.get_or_make("slow", lambda: 0) == (1, True)


def test_those_who_wait_for_a_value_are_told_that_it_failed():
    kept = Lru[str, int](limit=10, weigh=lambda value: value)
    inside, go, told = threading.Event(), threading.Event(), []

    def make():
        inside.set()
        assert go.wait(10)
        return 1 // 0

    def wait():
        with pytest.raises(ZeroDivisionError):
            kept.get_or_make("a", make)
        told.append(1)

    first = threading.Thread(target=wait)
    first.start()
    assert inside.wait(10)
    second = threading.Thread(target=wait)
    second.start()
    go.set()
    first.join(10)
    second.join(10)
    assert told == [1, 1]
    assert kept.get("a") is None


def test_values_made_elsewhere_are_kept_by_the_same_rule():
    kept = Lru[str, int](limit=10, weigh=lambda value: value)
    for key, value in (("a", 4), ("b", 4), ("a", 5)):
        kept.put(key, value)
    assert kept.get("a") == 5
    kept.put("c", 5)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (5, None, 5)
    kept.put("c", 11)
    assert kept.get("c") is None
