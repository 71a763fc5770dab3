"""Masks of a slice as closed polygons that any reader fills with the very same pixels.

Readers of structure sets differ. Most ask whether a pixel's centre lies inside the polygon; some
round the corners to pixel centres and fill with the border; some join nested contours, others take
them as holes. These polygons suit all of them: an outline runs half a pixel outside the centres of
its border pixels, a little less so that rounding falls inwards, and what has a hole is cut in two
through the hole, so no contour lies in another.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float64
from scipy import ndimage
from skimage.measure import find_contours

from cobot.shapes import Mask, PointsXy

OUTSET_PX = 0.48
"""How far outside the centres of its border pixels an outline runs; rounding needs below 0.5."""

ALL_NEIGHBOURS = np.ones((3, 3), bool)


def outlines(mask: Mask) -> Iterator[PointsXy]:
    """Polygons around the pixels of a mask, corners in order, the first not repeated.

    A pixel is in the mask if and only if its centre lies in one of the polygons.

    >>> [corner.tolist() for corner in next(outlines(np.ones((1, 2), bool)))]
    [[1.0, 0.48], [0.0, 0.48], [-0.48, 0.0], [0.0, -0.48], [1.0, -0.48], [1.48, 0.0]]
    """
    for row, col, piece in _simple_pieces(mask):
        # "low": pixels that touch at a corner belong to different outlines.
        padded = np.pad(piece, 1).astype(float)
        for contour in find_contours(padded, 1 - OUTSET_PX, "low"):  # type: ignore[no-untyped-call]
            corners = contour[:-1, ::-1] - 1 + (col, row)
            yield _without_straight(np.round(corners, 6))


def _simple_pieces(mask: Mask) -> Iterator[tuple[int, int, Mask]]:
    """First row, first column and pixels of pieces without holes that make up the mask."""
    for top, left, component in _components(mask):
        cuts = [0, *(row + 1 for row in _rows_through_holes(component)), component.shape[0]]
        for first, end in zip(cuts, cuts[1:], strict=False):
            for row, col, piece in _components(component[first:end]):
                yield top + first + row, left + col, piece


def _components(mask: Mask) -> Iterator[tuple[int, int, Mask]]:
    labelled, _ = ndimage.label(mask)
    for number, (rows, cols) in enumerate(ndimage.find_objects(labelled), start=1):
        piece: Bool[np.ndarray, "h w"] = labelled[rows, cols] == number
        yield rows.start, cols.start, piece


def _rows_through_holes(component: Mask) -> list[int]:
    """The fewest rows that meet every hole: a cut below each of them opens all."""
    background, _ = ndimage.label(~np.pad(component, 1), ALL_NEIGHBOURS)
    rows: list[int] = []
    spans = [
        (box[0].start - 1, box[0].stop - 2)
        for number, box in enumerate(ndimage.find_objects(background), start=1)
        if number != background[0, 0]
    ]
    for first, last in sorted(spans, key=lambda span: span[1]):
        if not rows or rows[-1] < first:
            rows.append(last)
    return rows


def _without_straight(corners: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "m 2"]:
    """Leave out the corners at which the outline goes straight on."""
    before = corners - np.roll(corners, 1, axis=0)
    after = np.roll(corners, -1, axis=0) - corners
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    kept: Float64[np.ndarray, "m 2"] = corners[np.abs(turn) > 1e-6]
    return kept
