"""How many CPU threads PyTorch uses: all to encode, one to decode.

Decoding a click is a hundred small steps. When the cores are busy with something else, steps that
wait for a second thread stall, and a click then takes seconds (4.3 in lib/decisions/0006). So few
prompts are decoded by one thread, which is nearly as fast when the cores are free.

PyTorch keeps this number partly for the process (its own default and MKL's) and partly for each
thread, which takes over the default at its first step and then keeps it. A thread that took it
over while another was decoding would stay at one for good, hence the lock and `settle_thread`.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

FEW_PROMPTS = 3
"""Up to here one thread answers at least about as fast; more prompts are worth all threads."""

_decoding = threading.Lock()


def decoding_threads(device: torch.device, prompts: int) -> AbstractContextManager[None]:
    """The threads to decode that many prompts with: one for a few on a CPU, else as they are."""
    return one_thread() if device.type == "cpu" and prompts <= FEW_PROMPTS else nullcontext()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with the calling thread alone; afterwards with as many as before.

    One caller at a time in the whole process; others wait. Work that runs meanwhile in other
    threads may also lose its helpers until the end, never longer.
    """
    with _decoding:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def settle_thread() -> None:
    """Let the calling thread take over its number of threads while nobody decodes.

    To be called by a thread before its first step with PyTorch; later calls change nothing.
    """
    with _decoding:
        torch.get_num_threads()
