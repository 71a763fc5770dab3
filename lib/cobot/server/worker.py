"""The process of a training, which MONAI Label starts beside the server, and its ties to it."""

import logging
import os
import threading
from collections.abc import Callable

import psutil  # type: ignore[import-untyped]

SERVER_PID = "COBOT_SERVER_PID"
"""Environment variable: the process id of the server; inherited by what it starts."""

EVERY_S = 0.5

logger = logging.getLogger(__name__)


def is_worker() -> bool:
    """Whether this process was started by a server of ours, and is not that server."""
    return os.environ.get(SERVER_PID, str(os.getpid())) != str(os.getpid())


def end_with_server(end: Callable[[], None] | None = None) -> None:
    """Call `end`, at once and from another thread, when the server that started this is gone.

    A training that nobody can stop or see would go on for hours, and the next server would start
    a second one beside it. Its checkpoint is on the disk, so nothing but some steps is lost.

    Args:
        end: by default ends the process.
    """
    if not is_worker():
        return
    try:
        server = psutil.Process(int(os.environ[SERVER_PID]))
    except psutil.NoSuchProcess:
        (end or _exit)()
        return
    threading.Thread(target=_watch, args=(server, end or _exit), daemon=True).start()


def _watch(server: psutil.Process, end: Callable[[], None]) -> None:
    while _lives(server):
        threading.Event().wait(EVERY_S)
    end()


def _lives(process: psutil.Process) -> bool:
    """A process that has ended but was not waited for by its parent counts as ended."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _exit() -> None:
    logger.warning("The server has ended, so this training stops; start it again to go on.")
    os._exit(1)
