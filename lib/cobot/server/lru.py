"""The last few results of slow steps, kept up to a limit."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Lru(Generic[Key, Value]):
    """Final. Values by key; the least recently used go when their weights exceed the limit.

    Two requests for the same key make it once, and if that fails both are told; requests for other
    keys do not wait for it.

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
        self._weight = 0
        self._coming: dict[Key, Future[Value]] = {}
        self._lock = threading.Lock()

    def get_or_make(self, key: Key, make: Callable[[], Value]) -> tuple[Value, bool]:
        """The value of a key, and whether it was there, or on its way, already."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key], True
            coming = self._coming.get(key)
            ours = Future[Value]() if coming is None else None
            if ours is not None:
                self._coming[key] = ours
        if coming is not None:
            return coming.result(), True
        assert ours is not None
        return self._made(key, make, ours), False

    def get(self, key: Key) -> Value | None:
        """The value of a key, if it is kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Key, value: Value) -> None:
        """Keep a value made elsewhere."""
        with self._lock:
            self._keep(key, value)

    def _made(self, key: Key, make: Callable[[], Value], ours: "Future[Value]") -> Value:
        """Make a value, and give it to all who wait for it."""
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._coming[key]
            ours.set_exception(error)
            raise
        with self._lock:
            del self._coming[key]
            self._keep(key, value)
        ours.set_result(value)
        return value

    def _keep(self, key: Key, value: Value) -> None:
        if key in self._kept:
            self._weight -= self._weigh(self._kept.pop(key))
        self._kept[key] = value
        self._weight += self._weigh(value)
        while self._weight > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self._weight -= self._weigh(oldest)
