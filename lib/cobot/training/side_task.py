"""What an embedding shall tell beside masks: learnt with the adapter, through the same encoder."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from cobot.sam.build import EncoderShape
from cobot.training.items import TrainingItem
from cobot.training.task import TrainingTask


class SideTask(nn.Module, ABC):
    """A head on the embedding with a loss of its own; its weights are in no adapter file.

    Attributes:
        weight: of its loss, beside that of the masks.
        learning_rate: of its weights, at the top of the recipe's schedule.
    """

    weight: float
    learning_rate: float

    @abstractmethod
    def loss(
        self, items: Sequence[TrainingItem], features: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, ""]:
        """How badly the embeddings of some slices tell it; gradients reach the encoder."""


@runtime_checkable
class SideTaskPlan(Protocol):
    """How to build one for a training."""

    def identity(self) -> Mapping[str, object]:
        """Everything that decides it, for the run's fingerprint and the adapter's card."""
        ...

    def build(self, shape: EncoderShape, task: TrainingTask, seed: int) -> SideTask:
        """A fresh one, on the CPU."""
        ...
