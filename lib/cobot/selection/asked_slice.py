"""One embedded slice that is asked many small questions, each in its turn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cobot.prompts import Prompts
from cobot.sam.answer import SliceEmbedding, SliceMask
from cobot.sam.segmenter import SliceSegmenter, SliceView
from cobot.shapes import BoxXyxy

QUESTIONS_AT_ONCE = 4
"""In one turn at the decoder: an annotator's click waits for one such turn at most."""


def go_on() -> None:
    """Nobody else needs the model: the turn is always ours."""


@dataclass(frozen=True, slots=True, eq=False)
class AskedSlice:
    """A slice, its embedding, and who answers.

    Attributes:
        segmenter: answers.
        view: the slice as the encoder saw it.
        embedding: by the same model, or by one that differs in the decoder alone.
        index: of the slice in its volume.
        labels: that are looked for on the slice as it is shown here; none for whoever knows none.
        turn: called before each piece of work; waits, or raises to end the work.
    """

    segmenter: SliceSegmenter
    view: SliceView
    embedding: SliceEmbedding
    index: int = 0
    labels: tuple[str, ...] = ()
    turn: Callable[[], None] = go_on

    def answer(self, prompts: Sequence[Prompts]) -> list[SliceMask]:
        """Answers in order, a few at a time."""
        found: list[SliceMask] = []
        for start in range(0, len(prompts), QUESTIONS_AT_ONCE):
            self.turn()
            part = prompts[start : start + QUESTIONS_AT_ONCE]
            found += self.segmenter.decode(self.embedding, part)
        return found

    def inside(self, box: BoxXyxy) -> BoxXyxy:
        """The part of a box that lies on the part of the slice the encoder saw."""
        region = self.view.frame.region
        low = np.array([region.col_start, region.row_start] * 2, np.float64)
        high = np.array([region.col_stop - 1, region.row_stop - 1] * 2, np.float64)
        return np.clip(box, low, high)
