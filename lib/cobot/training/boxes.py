"""Boxes as an annotator would draw them, taken from the truth."""

from collections.abc import Mapping, Sequence

import numpy as np

from cobot.errors import PromptError
from cobot.planes import Plane
from cobot.prompts import ObjectPrompts, VolumePrompts
from cobot.shapes import BoxIjk
from cobot.volume import LabelMap


def organ_box(truth: LabelMap, name: str) -> ObjectPrompts:
    """One box around a whole structure, the same on each of its slices.

    Raises:
        PromptError: the truth has no voxel of it.
    """
    return ObjectPrompts(label=name, box_ijk=_extent(_voxels(truth, name)))


def slice_boxes(truth: LabelMap, names: Sequence[str], plane: Plane) -> Mapping[int, VolumePrompts]:
    """A tight box for every structure on every slice that holds it.

    Returns:
        Slice index to the prompts of that slice alone; slices without a structure are left out.

    Raises:
        PromptError: the truth has no voxel of one of them.
    """
    found: dict[int, list[ObjectPrompts]] = {}
    for name in names:
        voxels = _voxels(truth, name)
        index = voxels[:, plane.axis]
        for here in np.unique(index).tolist():
            box = ObjectPrompts(label=name, box_ijk=_extent(voxels[index == here]))
            found.setdefault(here, []).append(box)
    return {index: VolumePrompts(plane, tuple(found[index])) for index in sorted(found)}


def _voxels(truth: LabelMap, name: str) -> np.ndarray:
    voxels = np.argwhere(truth.mask(name))
    if len(voxels) == 0:
        raise PromptError(f"The truth holds no voxel of {name!r}; leave it out.")
    return voxels


def _extent(voxels: np.ndarray) -> BoxIjk:
    return np.stack([voxels.min(axis=0), voxels.max(axis=0)])
