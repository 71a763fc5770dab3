"""Which part of a slice to show to an encoder that was trained on pictures cropped to the body."""

import numpy as np
from jaxtyping import Float32

from cobot.sam.frame import Region
from cobot.shapes import PointsXy

FOREGROUND = 0.05
"""Of the window's black to white: above the noise that air keeps."""

MARGIN_PX = 2
MOST_SPECKS_PX = 2
"""A row or column with no more foreground than this is air with noise in it."""

SMALLEST_BODY_PX = 24
"""Below this, on either side, what is bright is not a body: show the whole slice."""


def body_region(unit: Float32[np.ndarray, "row col"], holding_xy: PointsXy) -> Region:
    """The bounding box of what is not black, and of the given points.

    Args:
        unit: the slice, windowed to 0..1.
        holding_xy: points the region must contain, such as clicks and corners of boxes; those
            off the slice are left out. None of them is fine.

    Returns:
        The box with a margin of 2 px; the whole slice if it is smaller than 24 px a side.
    """
    body = unit > FOREGROUND
    spans = [_span(np.count_nonzero(body, axis=1 - axis)) for axis in (0, 1)]
    if any(stop - start < SMALLEST_BODY_PX for start, stop in spans):
        return Region(0, unit.shape[0], 0, unit.shape[1])
    for axis, places in ((0, holding_xy[:, 1]), (1, holding_xy[:, 0])):
        pixels = np.rint(places).astype(np.int64)
        on_slice = pixels[(pixels >= 0) & (pixels < unit.shape[axis])]
        start, stop = spans[axis]
        spans[axis] = (min(start, *on_slice, start), max(stop, *(on_slice + 1), stop))
    (top, bottom), (left, right) = spans
    return Region(int(top), int(bottom), int(left), int(right))


def _span(foreground: np.ndarray) -> tuple[int, int]:
    used = np.flatnonzero(foreground > MOST_SPECKS_PX)
    if used.size == 0:
        return 0, 0
    last = len(foreground)
    return max(0, int(used[0]) - MARGIN_PX), min(last, int(used[-1]) + 1 + MARGIN_PX)
