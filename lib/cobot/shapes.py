"""Names for the array shapes that travel through the library.

Axis order is in the shape string: `i j k` are voxel axes as stored, `row col` are picture axes,
`xy` is (column, row). Tests check these at run time through jaxtyping; production does not.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Integer, Shaped

Affine = Float64[np.ndarray, "4 4"]
"""Voxel index (i, j, k, 1) to patient position RAS+ in millimetres."""

Voxels = Shaped[np.ndarray, "i j k"]
LabelVoxels = Integer[np.ndarray, "i j k"]
Pixels = Shaped[np.ndarray, "row col"]
Mask = Bool[np.ndarray, "row col"]
Logits = Float[np.ndarray, "row col"]
PointsIjk = Integer[np.ndarray, "n 3"]
PointsXy = Float64[np.ndarray, "n 2"]
PointSigns = Bool[np.ndarray, " n"]
"""True for a point on the object, False for a point on the background."""
BoxIjk = Integer[np.ndarray, "2 3"]
"""Lowest and highest voxel, both inside the box."""
BoxXyxy = Float64[np.ndarray, " 4"]
"""x0 y0 x1 y1: centres of the first and last pixel, both inside the box."""
