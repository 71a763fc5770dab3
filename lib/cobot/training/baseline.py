"""Trivial answers that a network must beat: an ellipse filling the box, a disc at the click."""

import numpy as np
from jaxtyping import Bool, Real

from cobot.shapes import BoxIjk, BoxXyxy, Mask


def ellipse_in_box(box_xyxy: BoxXyxy, shape: tuple[int, int]) -> Mask:
    """The ellipse that touches the four sides of a box on one slice.

    First and last pixel lie inside the box, so it is one pixel wider than their distance. A pixel
    belongs to the ellipse when its centre does. Covers about pi/4 of the box.

    Args:
        box_xyxy: first and last pixel.
        shape: rows and columns of the slice; what reaches outside is cut off.

    >>> ellipse_in_box(np.array([0.0, 0.0, 3.0, 3.0]), (4, 5)).astype(int).tolist()
    [[0, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [0, 1, 1, 0, 0]]
    """
    low, high = box_xyxy[1::-1], box_xyxy[:1:-1]
    return _fill(low, high, shape)


def ellipsoid_in_box(box_ijk: BoxIjk, shape: tuple[int, ...]) -> Bool[np.ndarray, "i j k"]:
    """The ellipsoid that touches the six sides of a box in a volume; about pi/6 of it.

    Args:
        box_ijk: lowest and highest voxel, both inside.
        shape: voxels along i, j, k.
    """
    return _fill(box_ijk[0], box_ijk[1], shape)


def disc_at_click(
    click_xy: Real[np.ndarray, " 2"],
    radius_mm: float,
    spacing_mm: tuple[float, float],
    shape: tuple[int, int],
) -> Mask:
    """The pixels whose centre lies at most `radius_mm` from the click: round in the patient.

    Args:
        click_xy: column and row.
        radius_mm: 0 gives the clicked pixel alone.
        spacing_mm: between pixel centres, down the rows and along the columns.
        shape: rows and columns of the slice.
    """
    row, col = np.ogrid[: shape[0], : shape[1]]
    down_mm = (row - click_xy[1]) * spacing_mm[0]
    along_mm = (col - click_xy[0]) * spacing_mm[1]
    return np.asarray(down_mm**2 + along_mm**2 <= radius_mm**2)


def _fill(
    low: Real[np.ndarray, " d"], high: Real[np.ndarray, " d"], shape: tuple[int, ...]
) -> Bool[np.ndarray, "*shape"]:
    total = np.zeros((1,) * len(shape))
    for axis, indices in enumerate(np.ogrid[tuple(slice(count) for count in shape)]):
        radius = (high[axis] - low[axis] + 1) / 2
        total = total + ((indices - (high[axis] + low[axis]) / 2) / radius) ** 2
    return np.asarray(total <= 1)
