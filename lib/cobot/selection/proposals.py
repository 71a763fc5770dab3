"""What to ask a model about an unlabelled slice: boxes that it, or something else, proposes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import numpy as np

from cobot.auto.first_pass import ShownVolume
from cobot.intensity import IntensityWindow
from cobot.planes import Plane
from cobot.prompts import Prompts, tight_box
from cobot.sam.answer import SliceMask
from cobot.selection.asked_slice import AskedSlice
from cobot.shapes import BoxXyxy, Mask, PointsXy
from cobot.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class ProposedBox:
    """A box around something that may be an object.

    Attributes:
        box_xyxy: first and last pixel, on the slice.
        label: its name; empty where nobody knows.
        presence: probability that it is there; 1 where nobody says.
    """

    box_xyxy: BoxXyxy
    label: str = ""
    presence: float = 1.0


@runtime_checkable
class BoxProposer(Protocol):
    """Proposes boxes on a slice, without an annotator."""

    @property
    def name(self) -> str:
        """Method and settings; scores by different ones are never compared."""
        ...

    def shown(self, volume: Volume, plane: Plane, window: IntensityWindow) -> ShownVolume:
        """How a volume is cut and shown to be asked: as offered, or as the proposer learnt it."""
        ...

    def propose(self, asked: AskedSlice) -> Sequence[ProposedBox]:
        """The boxes on one slice; none where it holds nothing."""
        ...


@final
@dataclass(frozen=True, slots=True)
class GridClicks:
    """Clicks on a grid over the body; the masks the model believes in most give the boxes.

    For any model and any structures, at the price of one answer for each click. It finds what
    stands out, not what is wanted: a model that proposes boxes for its labels knows better.

    Attributes:
        across: clicks along each side of what the encoder sees.
        most: boxes for a slice, at most.
        least_predicted_iou: masks the decoder believes in less are dropped.
        largest_share: of the region; larger masks are the body or the background.
        smallest_share: of the region; smaller ones are noise.
        largest_overlap: IoU with a better mask from which on it is taken for the same object.
    """

    across: int = 5
    most: int = 3
    least_predicted_iou: float = 0.5
    largest_share: float = 0.35
    smallest_share: float = 0.002
    largest_overlap: float = 0.5

    @property
    def name(self) -> str:
        """As `BoxProposer`."""
        return repr(self)

    def shown(self, volume: Volume, plane: Plane, window: IntensityWindow) -> ShownVolume:
        """As offered."""
        return ShownVolume(volume, plane, {window: ()})

    def propose(self, asked: AskedSlice) -> Sequence[ProposedBox]:
        """As `BoxProposer`."""
        clicks = self.clicks(asked)
        positive = np.ones(1, bool)
        prompts = [Prompts(points_xy=click[None], positive=positive) for click in clicks]
        masks = self.kept(asked.answer(prompts), asked)
        return [ProposedBox(tight_box(mask)) for mask in masks]

    def clicks(self, asked: AskedSlice) -> PointsXy:
        """Centres of the grid's cells that do not lie on black."""
        region = asked.view.frame.region
        steps = (np.arange(self.across) + 0.5) / self.across
        rows = np.floor(region.row_start + steps * region.shape[0]).astype(int)
        cols = np.floor(region.col_start + steps * region.shape[1]).astype(int)
        lit = asked.view.unit[np.ix_(rows, cols)] > 0
        grid = np.stack(np.meshgrid(cols, rows), axis=-1).astype(np.float64)
        return grid[lit]

    def kept(self, answers: Sequence[SliceMask], asked: AskedSlice) -> list[Mask]:
        """The most believed masks, of sane size, each object once."""
        rows, cols = asked.view.frame.region.shape
        chosen: list[Mask] = []
        for one in sorted(answers, key=lambda one: -one.predicted_iou):
            if one.predicted_iou < self.least_predicted_iou or len(chosen) == self.most:
                break
            share = float(one.mask.sum()) / (rows * cols)
            sane = self.smallest_share <= share <= self.largest_share
            if sane and all(_iou(one.mask, other) < self.largest_overlap for other in chosen):
                chosen.append(one.mask)
        return chosen


def _iou(first: Mask, second: Mask) -> float:
    return float((first & second).sum()) / float((first | second).sum())
