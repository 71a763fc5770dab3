"""One training at a run's folder: two would overwrite each other's checkpoint and publish twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from lightning_fabric import Fabric

from cobot.errors import ConfigError

LOCK_NAME = ".run.lock"
LOCK_WAIT_S = 10
"""A process that was just killed gives its lock back within moments."""


@contextmanager
def alone_at(folder: Path, fabric: Fabric) -> Iterator[None]:
    """Hold a run's folder; the first process does it for all of a training.

    Raises:
        ConfigError: another training holds it.
    """
    lock = FileLock(folder / LOCK_NAME)
    if not fabric.broadcast(not fabric.is_global_zero or _acquired(lock)):
        raise ConfigError(
            f"Another process trains this very run ({folder}); wait for it, or end it and give the "
            "same command again, which then goes on from its last checkpoint."
        )
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=LOCK_WAIT_S)
    except Timeout:
        return False
    return True
