"""How many CPU threads PyTorch uses: all to encode, one to decode.

Decoding is hundreds of small steps. When the cores are busy with something else, every step that
waits for a helper thread stalls, and a click takes seconds (lib/decisions/0006). So on a CPU each
piece of decoding is computed by one thread alone, and several pieces at once by one thread each.

PyTorch keeps this number partly for the process (its own default and MKL's) and partly for each
thread, which takes over the default at its first step and then keeps it. A thread that took it
over while another was decoding would stay at one for good, hence the lock and `settle_thread`.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

MOST_LANES = 8
"""Beyond this Python itself holds threads up more than they help."""

Piece = TypeVar("Piece")
Result = TypeVar("Result")

_decoding = threading.Lock()


@contextmanager
def one_thread_each(device: torch.device) -> Iterator[int]:
    """Every step is computed by the calling thread alone; afterwards by as many as before.

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
            yield min(before, MOST_LANES)
        finally:
            torch.set_num_threads(before)


def side_by_side(
    work: Callable[[Piece], Result], pieces: Sequence[Piece], lanes: int
) -> list[Result]:
    """Results of independent pieces, in their order; `lanes` at once, in threads of their own.

    To be called within `one_thread_each`: threads begun there stay at one thread each.
    """
    if min(lanes, len(pieces)) <= 1:
        return [work(piece) for piece in pieces]
    with ThreadPoolExecutor(min(lanes, len(pieces))) as pool:
        return list(pool.map(work, pieces))


def settle_thread() -> None:
    """Let the calling thread take over its number of threads while nobody decodes.

    To be called by a thread before its first step with PyTorch; later calls change nothing.
    """
    with _decoding:
        torch.get_num_threads()
