"""A label in 3D: as many connected parts as it has, and no slice left out between two others.

Label pictures are stacked slice by slice: the first axis counts slices, so nothing here knows how a
volume is cut.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cc3d
import numpy as np
from jaxtyping import Bool, Integer
from scipy import ndimage

LabelStack = Integer[np.ndarray, "slice row col"]
MaskStack = Bool[np.ndarray, "slice row col"]


@dataclass(frozen=True, slots=True)
class ConsistencyRule:
    """Final. What a structure in 3D may look like.

    Attributes:
        longest_gap: slices in a row that are filled between two that hold the label.
        least_share: of a part's voxels in those of the largest part, to be kept.
    """

    longest_gap: int = 2
    least_share: float = 0.2


DEFAULT_CONSISTENCY = ConsistencyRule()


def consistent(
    found: LabelStack,
    components: Mapping[int, int],
    rule: ConsistencyRule = DEFAULT_CONSISTENCY,
) -> LabelStack:
    """Fill lone gaps of every label, then keep its largest connected parts.

    A filled voxel never takes the place of another label.

    Args:
        found: label values, 0 is background.
        components: value to the number of parts the structure has; 1 if it is left out.
        rule: how much is filled and kept.
    """
    settled = np.zeros_like(found)
    masks = {int(value): found == value for value in np.unique(found) if value}
    for value, mask in masks.items():
        whole = filled(mask, rule.longest_gap) & ((found == value) | (found == 0))
        kept = largest_parts(whole, components.get(value, 1), rule.least_share)
        settled[kept & (settled == 0)] = value
    return settled


def filled(mask: MaskStack, longest_gap: int) -> MaskStack:
    """Slices without the structure between two with it get a shape between theirs."""
    held = np.flatnonzero(mask.any(axis=(1, 2)))
    whole = mask.copy()
    for before, after in zip(held, held[1:], strict=False):
        if 1 < after - before <= longest_gap + 1:
            low, high = (signed_distance(mask[index]) for index in (before, after))
            for index in range(before + 1, after):
                share = (index - before) / (after - before)
                whole[index] = (1 - share) * low + share * high > 0
    return whole


def signed_distance(mask: Bool[np.ndarray, "row col"]) -> np.ndarray:
    """Pixels to the outline: above 0 inside, below outside."""
    inside = ndimage.distance_transform_edt(mask)
    outside = ndimage.distance_transform_edt(~mask)
    return np.asarray(inside - outside, np.float64)


def largest_parts(mask: MaskStack, most: int, least_share: float) -> MaskStack:
    """The largest connected parts, by faces, edges and corners."""
    if not mask.any():
        return mask
    parts = cc3d.connected_components(mask, connectivity=26)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    order = np.argsort(-sizes, kind="stable")[:most]
    kept = [int(part) for part in order if sizes[part] >= max(1, least_share * sizes.max())]
    return np.isin(parts, kept)


def part_count(mask: MaskStack, least_share: float = DEFAULT_CONSISTENCY.least_share) -> int:
    """How many connected parts a structure has, without specks; 0 where there is nothing."""
    if not mask.any():
        return 0
    sizes = np.bincount(np.asarray(cc3d.connected_components(mask, connectivity=26)).ravel())[1:]
    return int((sizes >= least_share * sizes.max()).sum())
