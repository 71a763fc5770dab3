"""One plane of a volume as a picture, and the way back to its voxels.

A picture is a view of the voxels, at most transposed and flipped, in the radiologist's
orientation: patient left on the right of the picture, front (axial) or head (coronal, sagittal)
at the top. Nothing is ever resampled here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Real, Shaped

from cobot.errors import GeometryError, PromptError
from cobot.geometry import acquired_axis, patient_axes
from cobot.shapes import Affine, Pixels, PointsIjk, PointsXy

PICTURE_AXES: Mapping[int, tuple[tuple[int, int], tuple[int, int]]] = {
    2: ((1, -1), (0, -1)),
    1: ((2, -1), (0, -1)),
    0: ((2, -1), (1, -1)),
}
"""Patient axis cut across: where rows grow and where columns grow, as (R A S axis, direction).

Across S (axial): rows to posterior, columns to left. Across A (coronal): rows to inferior, columns
to left. Across R (sagittal): rows to inferior, columns to posterior.
"""


@dataclass(frozen=True, slots=True)
class Plane:
    """How slices are cut across one voxel axis and turned into pictures.

    Attributes:
        axis: the voxel axis cut across (0 i, 1 j, 2 k).
        row_axis: the voxel axis that runs down the picture.
        col_axis: the voxel axis that runs to the right.
        flip_rows: the top row is the last voxel of `row_axis`.
        flip_cols: the left column is the last voxel of `col_axis`.
    """

    axis: int
    row_axis: int
    col_axis: int
    flip_rows: bool
    flip_cols: bool

    def picture(self, voxels: Shaped[np.ndarray, "i j k"], index: int) -> Pixels:
        """Slice `index` of `axis` as a picture: a writable view, rows by columns."""
        flat = voxels[(slice(None),) * self.axis + (index,)]
        upright = flat if self.row_axis < self.col_axis else flat.T
        return upright[:: -1 if self.flip_rows else 1, :: -1 if self.flip_cols else 1]


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One picture cut from a volume.

    Attributes:
        pixels: raw intensities, rows by columns.
        plane: how it was cut.
        index: which slice of `plane.axis`.
        spacing_mm: distance between pixel centres, down the rows and along the columns.
    """

    pixels: Pixels
    plane: Plane
    index: int
    spacing_mm: tuple[float, float]

    def xy_from_ijk(self, ijk: Real[np.ndarray, "n 3"]) -> PointsXy:
        """Voxel indices to picture coordinates: x is the column, y the row, of pixel centres.

        The only place where ijk becomes xy.

        Raises:
            PromptError: a point lies on another slice or outside the pixels.
        """
        self._require_on_slice(ijk)
        rows, cols = self.pixels.shape
        x = np.asarray(ijk[:, self.plane.col_axis], np.float64)
        y = np.asarray(ijk[:, self.plane.row_axis], np.float64)
        x = cols - 1 - x if self.plane.flip_cols else x
        y = rows - 1 - y if self.plane.flip_rows else y
        return np.stack([x, y], axis=1)

    def ijk_from_xy(self, xy: Real[np.ndarray, "n 2"]) -> PointsIjk:
        """Picture coordinates to the voxels whose pixels hold them; the inverse of xy_from_ijk.

        Raises:
            PromptError: a point lies outside the pixels.
        """
        rows, cols = self.pixels.shape
        nearest = np.rint(xy)
        outside = ~((nearest >= 0) & (nearest <= (cols - 1, rows - 1))).all(axis=1)
        if outside.any():
            raise PromptError(
                f"Point xy {xy[outside][0].tolist()} is outside the picture ({cols} columns, "
                f"{rows} rows); x runs to {cols - 1}, y to {rows - 1}."
            )
        x, y = nearest.astype(np.int64).T
        ijk = np.empty((len(xy), 3), np.int64)
        ijk[:, self.plane.axis] = self.index
        ijk[:, self.plane.col_axis] = cols - 1 - x if self.plane.flip_cols else x
        ijk[:, self.plane.row_axis] = rows - 1 - y if self.plane.flip_rows else y
        return ijk

    def _require_on_slice(self, ijk: Real[np.ndarray, "n 3"]) -> None:
        rows, cols = self.pixels.shape
        for point in ijk:
            inside = (
                0 <= point[self.plane.row_axis] <= rows - 1
                and 0 <= point[self.plane.col_axis] <= cols - 1
            )
            if point[self.plane.axis] != self.index or not inside:
                raise PromptError(
                    f"Point ijk {point.tolist()} is not on slice {self.index} of voxel axis "
                    f"{'ijk'[self.plane.axis]} ({rows} rows, {cols} columns); "
                    "give the voxel index of a point inside the image."
                )


def plane_across(affine: Affine, axis: int) -> Plane:
    """The plane that cuts across one voxel axis, upright for a radiologist's eye.

    Args:
        affine: voxel index to RAS+ millimetres.
        axis: voxel axis to cut across: 0 i, 1 j, 2 k.

    Raises:
        GeometryError: the axis is none of the three.
    """
    if axis not in (0, 1, 2):
        raise GeometryError(f"axis must be 0 (i), 1 (j) or 2 (k), got {axis}.")
    towards = patient_axes(affine)
    (row_ras, row_sign), (col_ras, col_sign) = PICTURE_AXES[towards[axis][0]]
    patient_order = [ras for ras, _ in towards]
    row_axis, col_axis = patient_order.index(row_ras), patient_order.index(col_ras)
    return Plane(
        axis=axis,
        row_axis=row_axis,
        col_axis=col_axis,
        flip_rows=towards[row_axis][1] != row_sign,
        flip_cols=towards[col_axis][1] != col_sign,
    )


def acquired_plane(affine: Affine) -> Plane:
    """The plane in which the volume was acquired: across the axis of the coarsest spacing."""
    return plane_across(affine, acquired_axis(affine))
