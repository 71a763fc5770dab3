"""An annotator who knows the truth and always goes to the slice that is most wrong."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from cobot.prompts import Prompts
from cobot.shapes import BoxXyxy, Mask
from cobot.training.clicks import Click, centre_click, corrective_click, jittered_box

FirstPrompt = Literal["box", "click"]

BOX_JITTER = 0.05
"""Nobody draws a box to the pixel: standard deviation of its sides, as a share of them."""


@dataclass(frozen=True, slots=True)
class AnnotatorHabits:
    """How an annotator works.

    Attributes:
        first: what a slice is given first; after it come corrective clicks.
        prompts_a_slice: after so many a slice is left as it is, and another one is taken.
        ends_first: begins with the two end slices of the structure, as one does who fills between
            slices.
        seed: of the jitter of boxes.
    """

    first: FirstPrompt = "box"
    prompts_a_slice: int = 5
    ends_first: bool = False
    seed: int = 0


@dataclass(slots=True, eq=False)
class AskedSlice:
    """What was asked on a slice so far."""

    box_xyxy: BoxXyxy | None = None
    clicks: list[Click] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Prompts: the box and each click."""
        return len(self.clicks) + (self.box_xyxy is not None)

    @property
    def prompts(self) -> Prompts | None:
        """All of them together; None where there are negative clicks alone."""
        if self.box_xyxy is None and not any(click.positive for click in self.clicks):
            return None
        return Prompts(
            points_xy=self.points_xy,
            positive=np.array([click.positive for click in self.clicks], bool),
            box_xyxy=self.box_xyxy,
        )

    @property
    def points_xy(self) -> np.ndarray:
        """The clicks' places."""
        return np.array([[click.x_px, click.y_px] for click in self.clicks]).reshape(-1, 2)


class SimulatedAnnotator:
    """Gives one prompt after the other for one structure of one volume."""

    def __init__(self, truth: Mapping[int, Mask], habits: AnnotatorHabits) -> None:
        """Look at the truth: slice index to its pixels; slices without it are left out."""
        self._truth = truth
        self._habits = habits
        self._rng = np.random.default_rng(habits.seed)
        self._nothing = np.zeros_like(next(iter(truth.values())))
        self.asked: dict[int, AskedSlice] = {}

    def prompt(self, masks: Mapping[int, Mask]) -> int | None:
        """Add one prompt where the answer is most wrong.

        Args:
            masks: slice index to the answer so far.

        Returns:
            The slice that was prompted; None where nothing is wrong, or nothing more can be said.
        """
        index = self._next_slice(masks)
        if index is None:
            return None
        asked = self.asked.setdefault(index, AskedSlice())
        truth, answer = self._truth.get(index, self._nothing), masks.get(index, self._nothing)
        if asked.count == 0 and truth.any():
            if self._habits.first == "box":
                asked.box_xyxy = jittered_box(truth, BOX_JITTER, self._rng)
            else:
                asked.clicks.append(centre_click(truth))
        elif (click := corrective_click(truth, answer)) is not None:
            asked.clicks.append(click)
        return index

    def _next_slice(self, masks: Mapping[int, Mask]) -> int | None:
        """An end of the structure, if that is the habit; then the slice with the most errors."""
        if self._habits.ends_first:
            for end in (min(self._truth), max(self._truth)):
                if end not in self.asked:
                    return end
        errors = slice_errors(masks, self._truth)
        open_ = {
            index: wrong
            for index, wrong in errors.items()
            if wrong and self._count(index) < self._habits.prompts_a_slice
        }
        return max(open_, key=lambda index: (open_[index], -index)) if open_ else None

    def _count(self, index: int) -> int:
        return self.asked[index].count if index in self.asked else 0


def slice_errors(masks: Mapping[int, Mask], truth: Mapping[int, Mask]) -> dict[int, int]:
    """Slice index to its pixels that are wrong."""
    nothing = np.zeros_like(next(iter(truth.values())))
    return {
        index: int((masks.get(index, nothing) != truth.get(index, nothing)).sum())
        for index in _all_slices((masks, truth))
    }


def volume_dice(masks: Mapping[int, Mask], truth: Mapping[int, Mask]) -> float:
    """3D Dice of masks by slice."""
    both = sum(int((masks[index] & truth[index]).sum()) for index in masks if index in truth)
    total = sum(int(mask.sum()) for one in (masks, truth) for mask in one.values())
    return 2 * both / total


def _all_slices(groups: Sequence[Mapping[int, Mask]]) -> Iterable[int]:
    return sorted({index for group in groups for index in group})
