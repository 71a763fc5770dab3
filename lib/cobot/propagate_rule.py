"""How a mask is carried to the next slice, and when its walk has to end."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64
from scipy import ndimage

from cobot.errors import ConfigError
from cobot.sam.answer import SliceMask
from cobot.shapes import BoxXyxy, Mask, PointsXy

NextPrompt = Literal["box", "box+mask", "box+point"]
StopReason = Literal["edge", "reach", "time", "empty", "unsure", "unlike", "apart", "jump"]

REFERENCE_MM = 5.0
"""Distance of slices that the limits on overlap and area are stated for."""

GREY_BINS = 16
GREY_BLUR_BINS = 1.0
"""Of a grey profile: coarse and smooth, so that two small samples of one tissue look alike."""


@dataclass(frozen=True, slots=True)
class PropagationRule:
    """Everything that decides a walk; the numbers are of decision 11.

    Two slices differ the more the farther they are apart, so the limits on overlap and area are
    stated for 5 mm and taken to the power of distance / 5 mm.

    Attributes:
        next_prompt: what the last mask asks on the next slice: its box, and with it the mask as a
            mask prompt, or a click at its deepest point.
        looks: how often a slice is asked: after the first time with the box of its own answer.
        widening: by how much each side of the box moves outwards, in mm a mm of distance; it
            begins again from each mask, so it does not add up.
        least_predicted_iou: of the decoder's own guess.
        least_likeness: of grey values to those on the prompted slice; see `likeness`.
        least_overlap: IoU with the mask it came from, at 5 mm.
        largest_ratio: of the larger area to the smaller one, at 5 mm.
        smallest_share: of a mask; what is not connected to the rest and smaller is a speck.
        reach_mm: how far a walk may go from its prompted slice.
    """

    next_prompt: NextPrompt = "box"
    looks: int = 1
    widening: float = 0.0
    least_predicted_iou: float = 0.3
    least_likeness: float = 0.5
    least_overlap: float = 0.4
    largest_ratio: float = 2.5
    smallest_share: float = 0.05
    reach_mm: float = float("inf")

    def __post_init__(self) -> None:
        limits = ("least_predicted_iou", "least_likeness", "least_overlap", "smallest_share")
        for name in limits:
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"Propagation: {name} {getattr(self, name)} must be in [0, 1).")
        if self.looks < 1:
            raise ConfigError(f"Propagation: looks {self.looks} must be at least 1.")
        if not (self.widening >= 0 and self.largest_ratio > 1 and self.reach_mm > 0):
            raise ConfigError(
                f"Propagation: widening {self.widening} must not be negative, largest_ratio "
                f"{self.largest_ratio} must be above 1 and reach_mm {self.reach_mm} above 0."
            )

    def refusal(
        self, answer: SliceMask, part: Mask, alike: float, step_mm: float
    ) -> StopReason | None:
        """Why an answer cannot be the same structure as the part it came from; None if it can.

        Args:
            answer: on the next slice, strays removed.
            part: on the last slice.
            alike: likeness of the answer's grey values to those on the prompted slice.
            step_mm: distance of the two slices.
        """
        area, before = int(answer.mask.sum()), int(part.sum())
        if area == 0:
            return "empty"
        if answer.predicted_iou < self.least_predicted_iou:
            return "unsure"
        if alike < self.least_likeness:
            return "unlike"
        steps = step_mm / REFERENCE_MM
        if mask_iou(answer.mask, part) < self.least_overlap**steps:
            return "apart"
        if max(area, before) > self.largest_ratio**steps * min(area, before):
            return "jump"
        return None


def connected_parts(mask: Mask, smallest_share: float = 0.0) -> list[Mask]:
    """The connected components of a mask (8 neighbours), largest first, without specks.

    Args:
        mask: one slice of a structure.
        smallest_share: components with less of the mask's pixels are left out.
    """
    regions, count = ndimage.label(mask, np.ones((3, 3), int))
    sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
    # Of many parts of one size, none is a speck.
    enough = min(smallest_share * sizes.sum(), sizes.max(initial=0))
    order = np.argsort(-sizes, kind="stable")
    return [regions == 1 + rank for rank in order.tolist() if sizes[rank] >= enough]


def without_strays(answer: SliceMask, part: Mask) -> SliceMask:
    """An answer without the components that lie nowhere over the part it came from."""
    kept = [one for one in connected_parts(answer.mask) if (one & part).any()]
    mask = np.logical_or.reduce(kept) if kept else np.zeros_like(answer.mask)
    return SliceMask(
        mask, logits_within(answer.logits, mask), answer.low_res_logits, answer.predicted_iou
    )


def logits_within(logits: Float32[np.ndarray, "row col"], mask: Mask) -> np.ndarray:
    """Logits that are above 0 in the mask alone; what was above it outside changes its sign."""
    return np.where(mask | (logits <= 0), logits, -logits)


def grey_profile(unit: Float32[np.ndarray, "row col"], mask: Mask) -> Float64[np.ndarray, " bins"]:
    """How the grey values of a mask are spread: shares of `GREY_BINS`, smoothed; they sum to 1.

    Args:
        unit: the slice, windowed to 0..1.
        mask: of the slice; an empty one has all zeros.
    """
    counts = np.histogram(unit[mask], GREY_BINS, (0, 1))[0].astype(np.float64)
    return ndimage.gaussian_filter1d(counts, GREY_BLUR_BINS) / max(counts.sum(), 1)


def likeness(one: Float64[np.ndarray, " bins"], other: Float64[np.ndarray, " bins"]) -> float:
    """The common share of two grey profiles: 1 for equal ones, 0 for disjoint ones."""
    return float(np.minimum(one, other).sum())


def mask_iou(one: Mask, other: Mask) -> float:
    """Intersection over union; 0 for two empty masks."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 0.0


def deepest_point(mask: Mask) -> PointsXy:
    """The pixel farthest from a mask's edge, as one point."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, col = np.unravel_index(int(np.argmax(depth)), mask.shape)
    return np.array([[col, row]], np.float64)


def widened_box(box: BoxXyxy, by_px: tuple[float, float], shape: tuple[int, int]) -> BoxXyxy:
    """A box with each side moved outwards, inside the picture.

    Args:
        box: first and last pixel.
        by_px: along x and along y.
        shape: rows and columns of the picture.

    >>> widened_box(np.array([1.0, 2.0, 3.0, 4.0]), (2.0, 1.0), (6, 5)).tolist()
    [0.0, 1.0, 4.0, 5.0]
    """
    moved = box + np.array([-by_px[0], -by_px[1], by_px[0], by_px[1]])
    return np.clip(moved, 0, np.array([shape[1] - 1, shape[0] - 1] * 2, np.float64))
