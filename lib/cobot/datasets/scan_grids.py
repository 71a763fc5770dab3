"""Where a phantom is scanned: grids centred in the patient, and random planes."""

import numpy as np
from jaxtyping import Float, Float32, UInt8

from cobot.datasets.implicit import Pair, turn_about
from cobot.datasets.scene import Scene, scan
from cobot.shapes import Affine

LPS = np.diag([-1.0, -1.0, 1.0])
"""Columns: where i, j, k grow, in RAS. Axial slices, rows to the back, columns to the left."""

CORONAL = np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
SAGITTAL = np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]])
VIEW_SHARES = (0.88, 0.06, 0.06)

Picture = tuple[Float32[np.ndarray, "row col"], UInt8[np.ndarray, "row col"]]
"""HU and labels of one plane."""


def centred_grid(
    axes: Float[np.ndarray, "3 3"],
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    centre_mm: tuple[float, float, float] = (0, 0, 0),
) -> Affine:
    """A grid whose voxel axes are the columns of `axes`, its middle at `centre_mm`."""
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag(spacing_mm)
    affine[:3, 3] = np.array(centre_mm) - affine[:3, :3] @ (np.array(shape) - 1) / 2
    return affine


def scan_random_plane(
    scene: Scene,
    rng: np.random.Generator,
    side_px: int,
    fov_mm: Pair,
    height_mm: Pair = (-78, 78),
) -> Picture:
    """Scan one plane, mostly axial, slightly tilted, at a random height.

    Args:
        scene: the patient.
        rng: chooses the plane.
        side_px: rows and columns of the picture.
        fov_mm: shortest and longest side of the picture.
        height_mm: lowest and highest axial plane.
    """
    tilt = turn_about(0, rng.normal(0, 6)) @ turn_about(1, rng.normal(0, 4))
    view = (LPS, CORONAL, SAGITTAL)[rng.choice(3, p=VIEW_SHARES)]
    lift = rng.uniform(*height_mm) if view is LPS else float(np.mean(height_mm))
    x, y = rng.normal(0, 8, 2)
    side_mm = float(rng.uniform(*fov_mm)) / side_px
    shape = (side_px, side_px, 1)
    affine = centred_grid(tilt @ view, shape, (side_mm, side_mm, 5.0), (x, y, lift))
    found = scan(scene, affine, shape, sub_slices=1)
    pixels = found.volume.voxels[:, :, 0].T.astype(np.float32)
    return pixels, np.ascontiguousarray(found.truth.voxels[:, :, 0].T.astype(np.uint8))
