"""The bones of the head: skull, upper jaw, mandible and teeth."""

import numpy as np

from cobot.datasets.head_neck_build import HeadBuild, cranium, scaled
from cobot.datasets.implicit import Distance, Points, ellipsoid, tube
from cobot.datasets.scene import Bounds, Structure, layer

MANDIBLE = 7


def skull(build: HeadBuild) -> list[Structure]:
    """Vault with diploe, base with the dense petrous bones, cheeks and upper jaw."""
    s = build.scale

    def base(p: Points) -> Distance:
        floor = np.abs(p[2] - 6 * s - 0.16 * p[1]) - 5
        return np.maximum(floor, cranium(build, p))

    def maxilla(p: Points) -> Distance:
        mirrored = np.stack([np.abs(p[0]), p[1], p[2]])
        cheek = tube(mirrored, (scaled((34, 76, 12), s), scaled((62, 40, 10), s)), (7.0, 3.5))
        temple = tube(mirrored, (scaled((62, 40, 10), s), scaled((66, 8, 12), s)), (3.5, 3.5))
        palate = ellipsoid(p, scaled((0, 58, -6), s), (30 * s, 32 * s, 8 * s))
        rim = tube(mirrored, (scaled((12, 84, 40), s), scaled((48, 66, 38), s)), (5.0, 4.5))
        return np.minimum(np.minimum(cheek, temple), np.minimum(palate, rim))

    def petrous(p: Points) -> Distance:
        mirrored = np.stack([np.abs(p[0]), p[1], p[2]])
        ridge = (scaled((14, 2, 8), s), scaled((58, -28, 8), s))
        return np.maximum(tube(mirrored, ridge, (6.0, 13.0)), cranium(build, p))

    def vault_hu(p: Points, distance: Distance) -> Distance:
        diploe = np.abs(distance + 3.5) < 1.4
        return np.where(diploe, 480, 1050).astype(np.float32)

    cells = build.ripple(420, (5, 11))
    return [
        Structure(lambda p: np.maximum(cranium(build, p), 4 * s + 0.16 * p[1] - p[2]), vault_hu),
        Structure(base, lambda p, d: layer(d + 2.5, 850, 420)),
        Structure(petrous, lambda p, _: np.clip(850 + cells(p)[0], -700, 1500)),
        Structure(maxilla, lambda p, d: layer(d + 2.0, 900, 380)),
    ]


def mandible(build: HeadBuild) -> list[Structure]:
    """A U from joint to joint, cortex around marrow, and teeth in both jaws."""
    s = build.scale
    half = (
        build.at((50, 6, 6)), build.at((48, 10, -30)), build.at((34, 48, -44)),
        build.at((22, 70, -45)), build.at((0, 80, -45)),
    )  # fmt: skip
    tooth_period = 7.2 * s

    def bone(p: Points) -> Distance:
        mirrored = np.stack([np.abs(p[0]), p[1], p[2] * np.float32(0.62)])
        flat = tuple((x, y, z * 0.62) for x, y, z in half)
        return tube(mirrored, flat, (4.0, 5.0, 6.0, 6.2, 6.8))

    def teeth(p: Points) -> Distance:
        mirrored = np.stack([np.abs(p[0]), p[1], p[2]])
        arch = (scaled((31, 38, -22), s), scaled((25, 62, -23), s), scaled((3, 77, -23), s))
        row = tube(mirrored, arch, (5.0, 4.5, 4.0))
        along = mirrored[1] - 0.9 * mirrored[0]
        gap = np.abs((along % tooth_period) - tooth_period / 2) - 0.44 * tooth_period
        return np.maximum(row, np.maximum(gap, np.abs(p[2] + 22 * s) - 10))

    bounds = Bounds(scaled((0, 40, -22), s), (64, 54, 52))
    return [
        Structure(bone, lambda p, d: layer(d + 2.2, 1150, 420), MANDIBLE, bounds),
        Structure(teeth, 1900.0, bounds=bounds),
    ]
