"""Several structures in one label map: who gets the voxels that more than one of them claims."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Integer
from scipy import ndimage

from cobot.planes import Plane
from cobot.propagate import Propagation, Seeds
from cobot.propagate_walk import PropagatedSlice
from cobot.shapes import Mask
from cobot.slicing import settle_overlaps, stack_masks
from cobot.volume import LabelMap, Volume


def merge_structures(
    structures: Mapping[str, Propagation], seeds: Mapping[str, Seeds], plane: Plane, volume: Volume
) -> LabelMap:
    """All structures in one map; a pixel goes to the one with the highest logit.

    A part that two structures share goes as a whole to the one that was clicked in it: a click that
    changed nothing would have no cure.

    Values are those of the structures that are left with a voxel, without a gap: Slicer takes the
    n-th value it meets for the n-th name.

    Args:
        structures: name to what was found.
        seeds: name to what was asked.
        plane: how the volume was cut.
        volume: the grid.
    """
    values = {name: value for value, name in enumerate(structures, start=1)}
    indices = sorted({index for found in structures.values() for index in found.slices})
    pictures = {}
    for index in indices:
        here = {name: one.slices[index] for name, one in structures.items() if index in one.slices}
        clicked = {name: _clicked(seeds[name], index, here[name].mask) for name in here}
        pictures[index] = _settle(here, clicked, values)
    present = {int(value) for picture in pictures.values() for value in np.unique(picture)}
    kept = [name for name, value in values.items() if value in present]
    renumber = np.zeros(len(values) + 1, np.uint16)
    for value, name in enumerate(kept, start=1):
        renumber[values[name]] = value
    return stack_masks(
        {index: renumber[picture] for index, picture in pictures.items()},
        plane,
        volume,
        dict(enumerate(kept, start=1)),
    )


def _settle(
    found: Mapping[str, PropagatedSlice], clicked: Mapping[str, Mask], values: Mapping[str, int]
) -> Integer[np.ndarray, "row col"]:
    """One value for each pixel of a slice."""
    picture = settle_overlaps([(values[name], one.logits) for name, one in found.items()])
    claims = np.sum([one.mask for one in found.values()], axis=0)
    regions, count = ndimage.label(claims > 1)
    for region in range(1, count + 1):
        inside = regions == region
        owners = [name for name, clicks in clicked.items() if (clicks & inside).any()]
        if len(owners) == 1:
            picture[inside & found[owners[0]].mask] = values[owners[0]]
    return picture


def _clicked(seeds: Seeds, index: int, mask: Mask) -> Mask:
    """The pixels of a mask with a positive click on them."""
    pixels = np.zeros_like(mask)
    asked = seeds.prompts.get(index)
    if asked is not None:
        col, row = np.rint(asked.points_xy[asked.positive]).astype(int).T
        pixels[row, col] = True
    return pixels & mask
