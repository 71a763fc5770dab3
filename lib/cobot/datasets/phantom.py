"""A phantom abdomen CT made from formulas: the offline default of demo, tests and pre-training."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Float32, UInt8

from cobot.datasets.abdomen_build import random_build
from cobot.datasets.abdomen_organs import organs
from cobot.datasets.abdomen_trunk import trunk
from cobot.datasets.implicit import random_waves, turn_about
from cobot.datasets.scene import Phantom, Scene, scan
from cobot.shapes import Affine

ABDOMEN_LABELS: Mapping[int, str] = {
    1: "liver",
    2: "spleen",
    3: "right kidney",
    4: "left kidney",
    5: "spine",
    6: "aorta",
    7: "vena cava",
    8: "stomach",
    9: "gallbladder",
    10: "pancreas",
    11: "colon",
}
"""What the truth of the abdomen phantom knows."""

LPS = np.diag([-1.0, -1.0, 1.0])
"""Columns: where i, j, k grow, in RAS. Axial slices, rows to the back, columns to the left."""

CORONAL = np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
SAGITTAL = np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]])


def abdomen_phantom(
    seed: int,
    shape: tuple[int, int, int] = (192, 160, 32),
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 5.0),
    oblique_degrees: float = 7.0,
) -> Phantom:
    """One random abdomen on an oblique, anisotropic LPS grid.

    Organs, sizes, places, contrast phase and noise follow from `seed` alone, so the same patient
    can be scanned onto other grids.

    Args:
        seed: which patient.
        shape: voxels along i (to the left), j (to the back), k (to the head).
        spacing_mm: distance between voxel centres along i, j, k.
        oblique_degrees: tilt of the slices against the patient, about left-right, and half of it
            about front-back.

    Returns:
        Image in HU (int16) and truth (uint8, `ABDOMEN_LABELS`), on the same grid.
    """
    scene = abdomen_scene(np.random.default_rng(seed))
    turn = turn_about(0, oblique_degrees) @ turn_about(1, oblique_degrees / 2)
    return scan(scene, _grid(turn @ LPS, shape, spacing_mm, np.zeros(3)), shape)


def abdomen_scene(rng: np.random.Generator) -> Scene:
    """A random patient, not yet scanned."""
    build = random_build(rng)
    return Scene(
        structures=(*trunk(build), *organs(build)),
        warp=random_waves(rng, 2.6, (110, 300), components=3),
        labels=ABDOMEN_LABELS,
        noise_hu=float(rng.uniform(7, 15)),
        noise_seed=int(rng.integers(2**32)),
    )


def random_abdomen_slice(
    rng: np.random.Generator, side_px: int = 256
) -> tuple[Float32[np.ndarray, "row col"], UInt8[np.ndarray, "row col"]]:
    """One random plane of a random patient: HU and labels, rows to the back, columns to the left.

    Mostly axial, one in eight coronal or sagittal; much cheaper than a volume.
    """
    scene = abdomen_scene(rng)
    tilt = turn_about(0, rng.normal(0, 6)) @ turn_about(1, rng.normal(0, 4))
    view = [LPS, CORONAL, SAGITTAL][rng.choice(3, p=[0.88, 0.06, 0.06])]
    centre_mm = rng.normal(0, (8, 8, 1)) + (0, 0, rng.uniform(-78, 78) if view is LPS else 0)
    side_mm = rng.uniform(310, 440) / side_px
    shape = (side_px, side_px, 1)
    affine = _grid(tilt @ view, shape, (side_mm, side_mm, 5.0), centre_mm)
    found = scan(scene, affine, shape, sub_slices=1)
    pixels = found.volume.voxels[:, :, 0].T.astype(np.float32)
    return pixels, np.ascontiguousarray(found.truth.voxels[:, :, 0].T)


def _grid(
    axes: Float[np.ndarray, "3 3"],
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    centre_mm: Float[np.ndarray, "3"],
) -> Affine:
    """A grid whose voxel axes are the columns of `axes`, centred in the patient."""
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag(spacing_mm)
    affine[:3, 3] = centre_mm - affine[:3, :3] @ (np.array(shape) - 1) / 2
    return affine
