"""What an annotator says: clicks and boxes, first on the volume's voxels, then on one slice."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from cobot.errors import PromptError
from cobot.planes import Plane, Slice
from cobot.shapes import BoxIjk, BoxXyxy, Mask, PointSigns, PointsIjk, PointsXy
from cobot.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Clicks and a box for one object on one slice.

    Attributes:
        points_xy: pixel coordinates, x the column, y the row.
        positive: for each point, True on the object, False on the background.
        box_xyxy: first and last pixel of the object, or None.
        mask_logits: low-resolution logits of an earlier answer on the same frame, or None.
    """

    points_xy: PointsXy = field(default_factory=lambda: np.empty((0, 2)))
    positive: PointSigns = field(default_factory=lambda: np.empty(0, bool))
    box_xyxy: BoxXyxy | None = None
    mask_logits: Float32[np.ndarray, "h w"] | None = None

    def __post_init__(self) -> None:
        if len(self.points_xy) != len(self.positive):
            raise PromptError(
                f"{len(self.points_xy)} points but {len(self.positive)} signs; give one sign each."
            )
        if self.box_xyxy is None and not self.positive.any():
            raise PromptError("Nothing to segment: give a box or at least one positive click.")

    @property
    def is_ambiguous(self) -> bool:
        """One lone click may mean a part or the whole: SAM then offers three masks (its 4.)."""
        return self.box_xyxy is None and len(self.points_xy) == 1 and self.mask_logits is None


@dataclass(frozen=True, slots=True, eq=False)
class ObjectPrompts:
    """Clicks and a box for one object in a volume.

    Attributes:
        label: the object's name.
        points_ijk: voxel indices of clicks.
        positive: for each click, True on the object, False on the background.
        box_ijk: lowest and highest voxel of the object, or None.
    """

    label: str
    points_ijk: PointsIjk = field(default_factory=lambda: np.empty((0, 3), np.int64))
    positive: PointSigns = field(default_factory=lambda: np.empty(0, bool))
    box_ijk: BoxIjk | None = None

    def __post_init__(self) -> None:
        if len(self.points_ijk) != len(self.positive):
            raise PromptError(
                f"{len(self.points_ijk)} points but {len(self.positive)} signs; give one sign each."
            )
        if self.box_ijk is not None and (self.box_ijk[0] > self.box_ijk[1]).any():
            raise PromptError(
                f"The box of {self.label!r} starts at {self.box_ijk[0].tolist()} and ends before, "
                f"at {self.box_ijk[1].tolist()}; give the lowest corner first."
            )

    def require_inside(self, volume: Volume) -> None:
        """Refuse what lies outside the volume.

        Raises:
            PromptError: names the point or corner and the highest valid index.
        """
        last = np.array(volume.shape) - 1
        corners = [] if self.box_ijk is None else list(self.box_ijk)
        for point in [*self.points_ijk, *corners]:
            if (point < 0).any() or (point > last).any():
                raise PromptError(
                    f"{self.label!r}: ijk {point.tolist()} lies outside the image; "
                    f"valid indices run from [0, 0, 0] to {last.tolist()}."
                )

    def on_slice(self, slice_: Slice) -> Prompts | None:
        """The part of these prompts that lies on one slice, or None.

        A slice that has only negative clicks of this object and no box gets None: there is
        nothing to segment on it.
        """
        here = self.points_ijk[:, slice_.plane.axis] == slice_.index
        box = self._box_on(slice_)
        if box is None and not self.positive[here].any():
            return None
        return Prompts(
            points_xy=slice_.xy_from_ijk(self.points_ijk[here]),
            positive=self.positive[here],
            box_xyxy=box,
        )

    def _box_on(self, slice_: Slice) -> BoxXyxy | None:
        if self.box_ijk is None:
            return None
        axis = slice_.plane.axis
        if not self.box_ijk[0, axis] <= slice_.index <= self.box_ijk[1, axis]:
            return None
        corners = self.box_ijk.copy()
        corners[:, axis] = slice_.index
        xy = slice_.xy_from_ijk(corners)
        return np.concatenate([xy.min(axis=0), xy.max(axis=0)])


@dataclass(frozen=True, slots=True)
class VolumePrompts:
    """Everything asked of one volume: its objects and the plane in which they are segmented."""

    plane: Plane
    objects: tuple[ObjectPrompts, ...]

    def __post_init__(self) -> None:
        names = [target.label for target in self.objects]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise PromptError(
                f"{twice} are prompted more than once; put all clicks and the box of one object "
                "into one ObjectPrompts."
            )

    def on_slice(self, slice_: Slice) -> dict[str, Prompts]:
        """Label to prompts, for the objects that are prompted on this slice."""
        found = ((target.label, target.on_slice(slice_)) for target in self.objects)
        return {label: prompts for label, prompts in found if prompts is not None}


def tight_box(mask: Mask) -> BoxXyxy:
    """First and last column and row of the mask, as x0 y0 x1 y1 pixel centres.

    Raises:
        PromptError: the mask is empty.

    >>> tight_box(np.array([[0, 0, 0], [0, 1, 1]], bool)).tolist()
    [1.0, 1.0, 2.0, 1.0]
    """
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        raise PromptError("An empty mask has no box; skip slices without the structure.")
    return np.array([cols[0], rows[0], cols[-1], rows[-1]], np.float64)
