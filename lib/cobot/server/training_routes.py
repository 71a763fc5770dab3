"""Starting, watching and stopping a training, as 3D Slicer asks for it.

MONAI Label's own endpoint accepts every request and lets what is wrong with it fail in another
process, where nobody sees it; it also takes a second training into a hidden queue.
"""

import threading
from contextlib import suppress
from subprocess import TimeoutExpired
from typing import Any, Protocol, runtime_checkable

from fastapi import APIRouter, Body, HTTPException
from monailabel.endpoints import train as monailabel_train
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.async_tasks.utils import processes, tasks

from cobot.errors import CobotError, ConfigError

router = APIRouter(prefix="/train", tags=["Train"])

STOPPED_S = 2
"""A killed process is gone within moments; one that waits for a disk may take longer."""

_starting = threading.Lock()


@runtime_checkable
class ReadyTrainer(Protocol):
    """A trainer that can tell in advance that a training would fail."""

    def get_ready(self, request: dict[str, Any]) -> None:
        """Check a request, and note that its training is about to begin.

        Raises:
            CobotError: it cannot begin; the message says the cure.
        """
        ...


def is_training() -> bool:
    """Whether this server has a training queued or running."""
    return any(task["status"] in ("SUBMITTED", "RUNNING") for task in tasks("train"))


@router.get("/")
def training_status(all: bool = False, check_if_running: bool = False) -> Any:
    """The last training, or all of this server's; 404 if there is none, or none is running."""
    return monailabel_train.status(all, check_if_running)


@router.post("/{model}")
def start_training(model: str, params: dict[str, Any] = Body(default_factory=dict)) -> Any:  # noqa: B008
    """Start one training in a process of its own, unless one is running."""
    trainers = app_instance()._trainers
    trainer = trainers.get(model)
    if trainer is None:
        raise HTTPException(404, f"No trainer {model!r} here; choose {', '.join(trainers)}.")
    settings = {key: value for key, value in params.items() if key != "model"}
    with _starting:
        if is_training():
            raise HTTPException(429, "A training is running; wait for it, or stop it first.")
        if isinstance(trainer, ReadyTrainer):
            _get_ready(trainer, settings)
        return monailabel_train.run_model(model, settings)


def _get_ready(trainer: ReadyTrainer, settings: dict[str, Any]) -> None:
    try:
        trainer.get_ready(settings)
    except CobotError as error:
        raise HTTPException(422 if isinstance(error, ConfigError) else 503, str(error)) from None


@router.delete("/")
def stop_training() -> Any:
    """Stop the training at once; its last checkpoint stays, and starting again goes on from it."""
    running = list(processes("train").values())
    stopped = monailabel_train.stop()
    for process in running:
        with suppress(TimeoutExpired):
            process.wait(STOPPED_S)
    return stopped
