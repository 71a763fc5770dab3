"""Where the cases of `cobot segment` are worked on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from cobot.batch.model import RunModel
from cobot.batch.run import Job, MakeEngine
from cobot.batch.stages import Limits, Stages


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What the user asks for.

    Attributes:
        name: local or ray.
        workers: of ray.
        limits: of each process.
    """

    name: Literal["local", "ray"]
    workers: int
    limits: Limits


@contextmanager
def make_engine(choice: EngineChoice, job: Job, model: RunModel) -> Iterator[MakeEngine]:
    """What makes the engine once there is something to write with; ends it with the block.

    Raises:
        ConfigError: ray is wanted and not installed.
    """
    if choice.name == "local":
        stream = model.stream(job.settings)
        yield lambda writer: Stages(stream, job.source, job.settings, writer, choice.limits)
        return
    from cobot.batch.ray_engine import RayEngine, WorkerOrder, ray_cluster

    order = WorkerOrder(model.choice, job.settings, job.source, job.out.resolve(), choice.limits)
    with ray_cluster():
        yield lambda writer: RayEngine(order, choice.workers, writer)
