"""A phantom abdomen CT made from formulas: the offline default of demo, tests and pre-training."""

from collections.abc import Mapping

import numpy as np

from cobot.datasets.abdomen_build import random_build
from cobot.datasets.abdomen_organs import organs
from cobot.datasets.abdomen_trunk import trunk
from cobot.datasets.implicit import random_waves, turn_about
from cobot.datasets.scan_grids import LPS, Picture, centred_grid, scan_random_plane
from cobot.datasets.scene import Phantom, Scene, scan

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
    return scan(scene, centred_grid(turn @ LPS, shape, spacing_mm), shape)


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


def random_abdomen_slice(rng: np.random.Generator, side_px: int = 256) -> Picture:
    """One random plane of a random patient, as HU and labels; much cheaper than a volume.

    Mostly axial, rows to the back and columns to the left; one in eight coronal or sagittal.
    """
    return scan_random_plane(abdomen_scene(rng), rng, side_px, (310, 440))
