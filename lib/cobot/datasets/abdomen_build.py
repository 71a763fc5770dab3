"""One random abdomen: its size, its contrast phase, its walls."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cobot.datasets.implicit import (
    Distance,
    Number,
    Pair,
    Points,
    Vector,
    Waves,
    merge,
    oval,
    random_waves,
)

PHASES_HU: Mapping[str, Mapping[str, float]] = {
    "native": {
        "liver": 56, "spleen": 49, "cortex": 34, "medulla": 31, "aorta": 43, "vein": 41,
        "portal": 41, "pancreas": 40, "wall": 38, "muscle": 54,
    },
    "arterial": {
        "liver": 72, "spleen": 128, "cortex": 185, "medulla": 78, "aorta": 310, "vein": 95,
        "portal": 105, "pancreas": 105, "wall": 75, "muscle": 58,
    },
    "portal": {
        "liver": 110, "spleen": 120, "cortex": 188, "medulla": 158, "aorta": 160, "vein": 142,
        "portal": 168, "pancreas": 95, "wall": 80, "muscle": 62,
    },
}  # fmt: skip
"""Mean HU of tissues without contrast, about 30 s and about 70 s after it; textbook values."""


@dataclass(frozen=True, slots=True)
class Build:
    """What differs from patient to patient, drawn once.

    Attributes:
        rng: draws everything else of this patient.
        hu: tissue to HU, for this patient's contrast phase.
        half_width_mm: of the trunk.
        half_depth_mm: of the trunk.
        fat_mm: thickness under the skin at the side.
        dome_mm: height of the right dome of the diaphragm.
        scale: of the organs.
    """

    rng: np.random.Generator
    hu: Mapping[str, float]
    half_width_mm: float
    half_depth_mm: float
    fat_mm: float
    dome_mm: float
    scale: float

    def near(self, centre_mm: Vector, spread_mm: Number) -> Vector:
        """A place near another, scaled to this patient."""
        x, y, z = np.multiply(centre_mm, self.scale) + self.rng.normal(0, spread_mm, 3)
        return float(x), float(y), float(z)

    def about(self, radii_mm: Vector, spread: Number = 0.09) -> Vector:
        """Radii near others, scaled to this patient; `spread` is relative."""
        factors = self.scale * np.clip(self.rng.normal(1, spread, 3), 0.75, 1.25)
        x, y, z = np.multiply(radii_mm, factors)
        return float(x), float(y), float(z)

    def ripple(self, size_mm: Number, wavelengths_mm: Pair = (28, 80)) -> Waves:
        """A random unevenness for a surface."""
        return random_waves(self.rng, size_mm, wavelengths_mm)


def random_build(rng: np.random.Generator) -> Build:
    """Draw a patient."""
    phase = PHASES_HU[str(rng.choice(list(PHASES_HU), p=[0.15, 0.2, 0.65]))]
    hu = {tissue: value * float(rng.normal(1, 0.06)) for tissue, value in phase.items()}
    if rng.random() < 0.2:
        hu["liver"] -= float(rng.uniform(10, 30))
    fat_mm = float(rng.uniform(9, 30))
    scale = float(rng.uniform(0.92, 1.08))
    return Build(
        rng=rng,
        hu=hu,
        half_width_mm=146 * scale + fat_mm,
        half_depth_mm=100 * scale + 0.6 * fat_mm,
        fat_mm=fat_mm,
        dome_mm=float(rng.uniform(66, 96)),
        scale=scale,
    )


def skin(build: Build, points: Points) -> Distance:
    """Surface of the body."""
    return oval(points, (0, 0), (build.half_width_mm, build.half_depth_mm), 0.35)


def muscle_wall(build: Build, points: Points) -> Distance:
    """Outside of the muscles of trunk and belly; fat is thinner at the back."""
    width = build.half_width_mm - build.fat_mm
    front = build.half_depth_mm - 0.75 * build.fat_mm
    back = build.half_depth_mm - 0.45 * build.fat_mm
    return oval(points, (0, (front - back) / 2), (width, (front + back) / 2), 0.25)


def cavity(build: Build, points: Points) -> Distance:
    """Inside of the trunk's wall; the spine stands in it from behind."""
    width = build.half_width_mm - build.fat_mm - 12
    front = build.half_depth_mm - 0.75 * build.fat_mm - 11
    back = 87 * build.scale
    return oval(points, (0, (front - back) / 2), (width, (front + back) / 2), 0.25)


def under_diaphragm(build: Build, points: Points) -> Distance:
    """Below 0 under the two domes of the diaphragm, above 0 in the chest."""
    x, y, z = points
    depth = y - 18
    drop = np.where(depth < 0, np.float32(0.0125), np.float32(0.0035)) * depth * depth
    right = build.dome_mm - 0.0115 * (x - 72) ** 2 - drop
    left = build.dome_mm - 14 - 0.0125 * (x + 74) ** 2 - drop
    middle = build.dome_mm - 24 - drop
    dome = -merge(merge(-right, -left, 30), -middle, 30)
    slope = np.sqrt(1 + (0.02 * depth) ** 2 + (0.022 * (np.abs(x) - 73)) ** 2)
    return ((z - dome) / slope).astype(np.float32)
