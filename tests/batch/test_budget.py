"""Memory that threads share."""

import threading

import pytest
from cobot.batch.budget import MemoryBudget, read_bytes
from cobot.errors import ConfigError


def test_who_wants_more_than_is_left_waits_until_it_is_given_back():
    budget = MemoryBudget(100)
    assert budget.take(60)
    got = threading.Event()
    waiting = threading.Thread(target=lambda: budget.take(50) and got.set())
    waiting.start()
    assert not got.wait(0.1)
    budget.give_back(60)
    assert got.wait(10)
    waiting.join()
    assert budget.peak_bytes == 60


def test_more_than_the_whole_is_given_to_one_alone():
    budget = MemoryBudget(100)
    assert budget.take(1000)
    waiting = threading.Thread(target=budget.take, args=(1,))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    budget.give_back(1000)
    waiting.join(10)
    assert not waiting.is_alive()


def test_a_closed_budget_gives_nothing_and_wakes_who_waits():
    budget = MemoryBudget(1)
    budget.take(1)
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(budget.take(1)))
    waiting.start()
    budget.close()
    waiting.join(10)
    assert answers == [False]


@pytest.mark.parametrize(
    ("text", "size"), [("100", 100), ("2k", 2048), ("1.5G", 3 * 2**29), ("4 GB", 2**32)]
)
def test_sizes_are_read_as_users_write_them(text, size):
    assert read_bytes(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "4X", "1e400", "nan"])
def test_other_sizes_are_refused(text):
    with pytest.raises(ConfigError, match="--max-memory"):
        read_bytes(text)
