"""The box jitter that an adapter was trained with: what moves its boxes when it is doubted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cobot.prompts import Prompts
from cobot.sam.frame import SamFrame
from cobot.selection.asked_slice import AskedSlice
from cobot.shapes import BoxXyxy
from cobot.training.clicks import shaken_box
from cobot.training.evaluate_method import paper_box
from cobot.training.training_prompts import BOX_JITTER

JitterStyle = Literal["shaken", "paper"]


def trained_jitter(recipe: Mapping[str, object]) -> JitterStyle:
    """The jitter of the recipe in an adapter's card; without one, that of the base's own training.

    >>> trained_jitter({"prompts": "box"}), trained_jitter({})
    ('paper', 'shaken')
    """
    return "paper" if recipe.get("prompts") == "box" else "shaken"


@dataclass(frozen=True, slots=True)
class BoxJitter:
    """Moves boxes, the same way each time it is asked about the same slice.

    Attributes:
        style: "paper" moves each side outwards by 0 to 50 px at 1024 px; "shaken" moves it both
            ways by a normal deviate of a tenth of the box at most.
        draws: how many boxes are made of one.
    """

    style: JitterStyle = "shaken"
    draws: int = 4

    def prompts(self, box: BoxXyxy, asked: AskedSlice, number: int) -> list[Prompts]:
        """The moved boxes, each inside what the encoder saw.

        Args:
            box: first and last pixel.
            asked: the slice.
            number: of the box among the slice's.
        """
        rng = np.random.default_rng([asked.index, number])
        frame = asked.view.frame
        moved = [self._moved(box, frame, rng) for _ in range(self.draws)]
        return [Prompts(box_xyxy=asked.inside(one)) for one in moved]

    def _moved(self, box: BoxXyxy, frame: SamFrame, rng: np.random.Generator) -> BoxXyxy:
        if self.style == "paper":
            return paper_box(box, frame, rng)
        return shaken_box(box, float(rng.uniform(0, BOX_JITTER)), frame.shape, rng)
