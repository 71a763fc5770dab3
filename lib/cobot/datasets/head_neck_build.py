"""One random head: its size, its neck, and the outlines that others are fitted into."""

from dataclasses import dataclass

import numpy as np

from cobot.datasets.implicit import (
    Distance,
    Number,
    Pair,
    Points,
    Vector,
    Waves,
    ellipsoid,
    merge,
    random_waves,
    tube,
)

CRANIUM_CENTRE_MM = (0.0, -8.0, 58.0)


@dataclass(frozen=True, slots=True)
class HeadBuild:
    """What differs from patient to patient, drawn once.

    Attributes:
        rng: draws everything else of this patient.
        scale: of everything.
        neck_mm: radius of the neck.
        contrast_hu: added to blood by the contrast agent; 0 without.
    """

    rng: np.random.Generator
    scale: float
    neck_mm: float
    contrast_hu: float

    def at(self, place_mm: Vector, spread_mm: Number = 1.5) -> Vector:
        """A place near another, scaled to this patient."""
        x, y, z = np.multiply(place_mm, self.scale) + self.rng.normal(0, spread_mm, 3)
        return float(x), float(y), float(z)

    def about(self, radii_mm: Vector, spread: Number = 0.07) -> Vector:
        """Radii near others, scaled to this patient."""
        factors = self.scale * np.clip(self.rng.normal(1, spread, 3), 0.8, 1.25)
        x, y, z = np.multiply(radii_mm, factors)
        return float(x), float(y), float(z)

    def ripple(self, size: Number, wavelengths_mm: Pair) -> Waves:
        """A random unevenness."""
        return random_waves(self.rng, size, wavelengths_mm)


def random_head(rng: np.random.Generator) -> HeadBuild:
    """Draw a patient."""
    return HeadBuild(
        rng=rng,
        scale=float(rng.uniform(0.93, 1.07)),
        neck_mm=float(rng.uniform(52, 66)),
        contrast_hu=float(rng.choice([0, 110])),
    )


def body_outline(build: HeadBuild, points: Points) -> Distance:
    """Skin of head, jaw, neck and the top of the shoulders."""
    s = build.scale
    cranium = ellipsoid(points, scaled(CRANIUM_CENTRE_MM, s), (77 * s, 97 * s, 86 * s))
    jaw = ellipsoid(points, scaled((0, 28, -14), s), (64 * s, 62 * s, 62 * s))
    nose = tube(points, (scaled((0, 84, 34), s), scaled((0, 104, 10), s)), (8.0, 13.0))
    neck = tube(
        points, (scaled((0, -26, -10), s), (0, -30, -180)), (build.neck_mm, build.neck_mm * 1.1)
    )
    shoulders = ellipsoid(points, (0, -32, -190), (230, 86, 88))
    face = merge(merge(cranium, jaw, 30), nose, 12)
    return merge(merge(face, neck, 30), shoulders, 60)


def cranium(build: HeadBuild, points: Points) -> Distance:
    """Outside of the skull's vault."""
    s = build.scale
    return ellipsoid(points, scaled(CRANIUM_CENTRE_MM, s), (71 * s, 90 * s, 79 * s))


def scaled(place_mm: Vector, scale: Number) -> Vector:
    """A place in a patient of another size."""
    x, y, z = place_mm
    return x * scale, y * scale, z * scale
