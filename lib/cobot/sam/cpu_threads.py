"""How many CPU threads PyTorch uses: all to encode, one for each piece of decoding.

Decoding is hundreds of small steps. When the cores are busy with something else, every step that
waits for a helper thread stalls, and a click takes seconds (lib/decisions/0006). So on a CPU each
piece of decoding is computed by one thread alone, and several pieces at once by one thread each.
Who waits for pieces works on them too: when no other core is free, nothing is waited for.

PyTorch keeps this number partly for the process (its own default and MKL's) and partly for each
thread, which takes over the default at its first step and then keeps it. A thread that took it
over while another was decoding would stay at one for good, hence the lock and `settle_thread`.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

MOST_LANES = 8
"""Beyond this Python itself holds threads up more than they help."""

Piece = TypeVar("Piece")
Result = TypeVar("Result")

_decoding = threading.Lock()


class _Here(threading.local):
    """What the running thread may use: the helpers of its turn at decoding, while they are idle."""

    helpers: ThreadPoolExecutor | None = None
    lanes: int = 1


_here = _Here()


@contextmanager
def one_thread_each(device: torch.device) -> Iterator[int]:
    """Every step is computed by one thread alone; afterwards by as many as before.

    On a CPU, one caller at a time in the whole process; others wait. Work that runs meanwhile in
    other threads may also lose its helpers until the end, never longer. Elsewhere nothing changes.

    Yields:
        How many such threads may work side by side.
    """
    if device.type != "cpu":
        yield 1
        return
    with _decoding:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with _lanes(min(before, MOST_LANES)):
                yield _here.lanes
        finally:
            torch.set_num_threads(before)


def side_by_side(work: Callable[[Piece], Result], pieces: Sequence[Piece]) -> list[Result]:
    """Results of independent pieces, in their order.

    Within `one_thread_each` by the calling thread and idle helpers, which begin there and so stay
    at one thread each; elsewhere, and within a piece of several, by the calling thread alone.
    """
    helpers, count = _here.helpers, min(_here.lanes, len(pieces)) - 1
    if helpers is None or count < 1:
        return [work(piece) for piece in pieces]
    left, results = deque(enumerate(pieces)), dict[int, Result]()
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def drain() -> None:
        with torch.inference_mode(inference), torch.set_grad_enabled(grad):
            while left:
                try:
                    index, piece = left.popleft()
                except IndexError:
                    return
                results[index] = work(piece)

    _here.helpers = None
    try:
        _drain_together(drain, helpers, count)
    finally:
        _here.helpers = helpers
    return [results[index] for index in range(len(pieces))]


def settle_thread() -> None:
    """Let the calling thread take over its number of threads while nobody decodes.

    To be called by a thread before its first step with PyTorch; later calls change nothing.
    """
    with _decoding:
        torch.get_num_threads()


@contextmanager
def _lanes(lanes: int) -> Iterator[None]:
    """Let the calling thread have helpers; they begin when they are first asked."""
    if lanes == 1:
        yield
        return
    with ThreadPoolExecutor(lanes - 1, thread_name_prefix="decode") as helpers:
        _here.helpers, _here.lanes = helpers, lanes
        try:
            yield
        finally:
            _here.helpers, _here.lanes = None, 1


def _drain_together(drain: Callable[[], None], helpers: ThreadPoolExecutor, count: int) -> None:
    """Drain here and in helpers; a helper that comes too late is sent home, not waited for."""
    helping: list[Future[None]] = [helpers.submit(drain) for _ in range(count)]
    try:
        drain()
    finally:
        started = [one for one in helping if not one.cancel()]
    for one in started:
        one.result()
