"""Small pure functions on affines: where voxels lie in the patient (RAS+, millimetres)."""

from itertools import permutations

import numpy as np
from jaxtyping import Float, Float64, Real

from cobot.errors import GeometryError
from cobot.shapes import Affine

SINGULAR_VOLUME_MM3 = 1e-9
"""A voxel smaller than this cannot be told from a degenerate one."""

EQUAL_SPACING_RTOL = 0.01
"""Spacings that differ by less are the same spacing, written down with rounding."""


def check_affine(affine: Float[np.ndarray, "_ _"]) -> Affine:
    """Return the affine as float64 once it is known to place voxels.

    Raises:
        GeometryError: wrong shape, not finite, last row not (0, 0, 0, 1), or singular.
    """
    if affine.shape != (4, 4):
        raise GeometryError(f"An affine must be 4x4, got shape {affine.shape}.")
    if not np.isfinite(affine).all():
        raise GeometryError("The affine holds NaN or infinity; write the image's geometry again.")
    if not np.array_equal(affine[3], (0, 0, 0, 1)):
        raise GeometryError(f"The affine's last row must be 0 0 0 1, got {affine[3].tolist()}.")
    if abs(np.linalg.det(affine[:3, :3].astype(np.float64))) < SINGULAR_VOLUME_MM3:
        raise GeometryError(
            "The affine is singular (two voxel axes point the same way or a spacing is zero); "
            "expected three independent axes. Convert the image again from its source."
        )
    return affine.astype(np.float64)


def spacing_mm(affine: Affine) -> Float64[np.ndarray, "3"]:
    """Distance between voxel centres along i, j, k.

    >>> spacing_mm(np.diag([2.0, 3.0, 5.0, 1.0])).tolist()
    [2.0, 3.0, 5.0]
    """
    lengths: Float64[np.ndarray, "3"] = np.linalg.norm(affine[:3, :3], axis=0)
    return lengths


def ras_from_ijk(affine: Affine, ijk: Real[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    """Voxel indices to patient positions in millimetres."""
    return np.asarray(ijk, np.float64) @ affine[:3, :3].T + affine[:3, 3]


def ijk_from_ras(affine: Affine, ras_mm: Real[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    """Patient positions in millimetres to (fractional) voxel indices."""
    return ras_from_ijk(np.linalg.inv(affine), ras_mm)


def patient_axes(affine: Affine) -> tuple[tuple[int, int], ...]:
    """For each voxel axis the closest patient axis and its direction.

    The assignment is one to one: of the six, the one whose direction cosines add up highest, so
    oblique and sheared grids get a sensible answer.

    Returns:
        Three pairs (patient axis 0 R, 1 A, 2 S; +1 or -1), in the order i, j, k.

    >>> patient_axes(np.diag([-1.0, 1.0, 5.0, 1.0]))
    ((0, -1), (1, 1), (2, 1))
    """
    cosines = affine[:3, :3] / spacing_mm(affine)
    order = max(permutations(range(3)), key=lambda ras: sum(abs(cosines[ras, range(3)])))
    return tuple((ras, 1 if cosines[ras, axis] >= 0 else -1) for axis, ras in enumerate(order))


def axis_codes(affine: Affine) -> str:
    """The letters towards which i, j, k grow, for example LAS.

    >>> axis_codes(np.diag([-1.0, 1.0, 5.0, 1.0]))
    'LAS'
    """
    letters = (("L", "R"), ("P", "A"), ("I", "S"))
    return "".join(letters[ras][sign > 0] for ras, sign in patient_axes(affine))


def acquired_axis(affine: Affine) -> int:
    """The voxel axis across which the volume was acquired: the one of the coarsest spacing.

    Where spacings are equal to 1 % the axis closest to head-foot is taken, then front-back.
    """
    spacing = spacing_mm(affine)
    coarse = [
        axis for axis in range(3) if spacing[axis] >= spacing.max() * (1 - EQUAL_SPACING_RTOL)
    ]
    towards = patient_axes(affine)
    preference = {2: 0, 1: 1, 0: 2}
    return min(coarse, key=lambda axis: preference[towards[axis][0]])
