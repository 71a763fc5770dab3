"""The last few results of slow steps, kept up to a limit."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Lru(Generic[Key, Value]):
    """Final. Values by key; the least recently used go when their weights exceed the limit.

    Every step holds one lock, `make` included: two requests for the same key make it once.

    >>> squares = Lru[int, int](limit=2, weigh=lambda _: 1)
    >>> [squares.get_or_make(n, lambda: n * n) for n in (2, 3, 2, 4)]
    [(4, False), (9, False), (4, True), (16, False)]
    >>> squares.get_or_make(3, lambda: 9)
    (9, False)
    """

    def __init__(self, limit: int, weigh: Callable[[Value], int]) -> None:
        """Keep up to `limit`, as `weigh` measures each value; one value too heavy is not kept."""
        self._limit = limit
        self._weigh = weigh
        self._kept: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get_or_make(self, key: Key, make: Callable[[], Value]) -> tuple[Value, bool]:
        """The value of a key, and whether it was there already."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key], True
            value = make()
            self._kept[key] = value
            self._drop_oldest()
            return value, False

    def _drop_oldest(self) -> None:
        weight = sum(self._weigh(value) for value in self._kept.values())
        while weight > self._limit:
            _, oldest = self._kept.popitem(last=False)
            weight -= self._weigh(oldest)
