"""Which slices of a corrected volume are worth training on, and what is asked on each."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cobot.planes import Plane
from cobot.prompts import tight_box
from cobot.shapes import LabelVoxels, Mask


@dataclass(frozen=True, slots=True)
class AbsentObject:
    """A structure that is not on a slice, and the box that wrongly asks for it.

    Attributes:
        value: of the structure.
        box_xyxy: first and last pixel, as x0 y0 x1 y1.
    """

    value: int
    box_xyxy: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ChosenSlice:
    """One slice to train on.

    Attributes:
        index: along the plane's axis.
        present: values of the structures on it.
        absent: structures to be answered with nothing.
    """

    index: int
    present: tuple[int, ...]
    absent: tuple[AbsentObject, ...]


def choose_slices(
    truth: LabelVoxels, prediction: LabelVoxels | None, plane: Plane, negative_ratio: float
) -> list[ChosenSlice]:
    """The slices that carry a label or lost one, and some empty ones, in order.

    A label is lost where the prediction had it and the correction has not: the box of what was
    wrongly predicted is then asked, and the answer is nothing. On an empty slice the box of the
    nearest slice with the structure is asked, as propagation over the structure's end would.

    Args:
        truth: label values, only of structures that are trained.
        prediction: what the clinician began with, in the same values, or None.
        plane: how the volume is cut.
        negative_ratio: empty slices for each slice with a label, spread evenly.
    """
    present = _values_by_slice(truth, plane)
    predicted = {} if prediction is None else _values_by_slice(prediction, plane)
    chosen = []
    for index in range(truth.shape[plane.axis]):
        here = present.get(index, ())
        lost = tuple(value for value in predicted.get(index, ()) if value not in here)
        if (here or lost) and prediction is not None:
            absent = _absent(plane.picture(prediction, index), lost)
            chosen.append(ChosenSlice(index, here, absent))
        elif here:
            chosen.append(ChosenSlice(index, here, ()))
    empty = [i for i in range(truth.shape[plane.axis]) if i not in {one.index for one in chosen}]
    wanted = min(len(empty), round(negative_ratio * len(present)))
    for rank in np.linspace(0, len(empty) - 1, wanted).astype(int) if wanted else ():
        chosen.append(_negative(empty[rank], truth, plane, present))
    return sorted(chosen, key=lambda one: one.index)


def _values_by_slice(voxels: LabelVoxels, plane: Plane) -> dict[int, tuple[int, ...]]:
    """Slice index to the values on it; slices without any are left out."""
    found = {}
    for index in range(voxels.shape[plane.axis]):
        values = np.unique(plane.picture(voxels, index))
        if values[-1] > 0:
            found[index] = tuple(int(value) for value in values if value)
    return found


def _absent(picture: np.ndarray, values: tuple[int, ...]) -> tuple[AbsentObject, ...]:
    return tuple(AbsentObject(value, _box(picture == value)) for value in values)


def _negative(
    index: int, truth: LabelVoxels, plane: Plane, present: Mapping[int, tuple[int, ...]]
) -> ChosenSlice:
    """An empty slice, asked for what its nearest neighbour with a structure carries."""
    nearest = min(present, key=lambda other: (abs(other - index), other))
    absent = _absent(plane.picture(truth, nearest), present[nearest])
    return ChosenSlice(index, (), absent)


def _box(mask: Mask) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = tight_box(mask).tolist()
    return x0, y0, x1, y1
