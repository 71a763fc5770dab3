"""Shapes between annotated slices, from signed distances to their outlines."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from jaxtyping import Float64
from scipy import ndimage

from cobot.shapes import Mask


def interpolate_shapes(masks: Mapping[int, Mask], pixel_mm: tuple[float, float]) -> dict[int, Mask]:
    """Fill the slices between annotated ones; nothing is added outside the first and the last.

    Between two slices the signed distances to the outline are averaged, the nearer slice counting
    more; the shape is where the average lies inside. Equal masks are carried over exactly; shapes
    that do not overlap shrink and may vanish halfway.

    Args:
        masks: slice index to what was annotated; empty masks count as annotated, too.
        pixel_mm: distance of pixel centres, down the rows and along the columns.
    """
    filled = dict(masks)
    drawn = sorted(index for index, mask in masks.items() if mask.any())
    depths = {index: signed_distance(masks[index], pixel_mm) for index in drawn}
    for low, high in pairwise(drawn):
        for index in range(low + 1, high):
            if index not in masks:
                share = (index - low) / (high - low)
                filled[index] = (1 - share) * depths[low] + share * depths[high] > 0
    return filled


def signed_distance(mask: Mask, pixel_mm: tuple[float, float]) -> Float64[np.ndarray, "row col"]:
    """Distance in mm from each pixel to the nearest one of the other side; above 0 inside.

    >>> signed_distance(np.array([[False, True, True]]), (1.0, 2.0)).tolist()
    [[-2.0, 2.0, 4.0]]
    """
    inside = ndimage.distance_transform_edt(mask, sampling=pixel_mm)
    outside = ndimage.distance_transform_edt(~mask, sampling=pixel_mm)
    return np.asarray(inside - outside)
