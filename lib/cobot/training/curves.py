"""A training's curves, for TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import final

from torch.utils.tensorboard import SummaryWriter


@final
class Curves:
    """Curves in the folder `tensorboard` of a run; a resumed run draws over what it does again."""

    def __init__(self, run: Path | None) -> None:
        """Draw for a run; None draws nothing, as in all processes but the first."""
        self._run = run
        self._writer: SummaryWriter | None = None

    def begin(self, step: int) -> None:
        """Open the files; what was drawn from `step` on is hidden."""
        if self._run is not None:
            self._writer = SummaryWriter(str(self._run / "tensorboard"), purge_step=step)

    def draw(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is not written yet."""
        if self._writer is not None:
            self._writer.close()
