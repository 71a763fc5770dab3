"""The trunk around the organs: skin, fat, muscles, ribs, spine, lungs and great vessels."""

from functools import partial

import numpy as np
from jaxtyping import Float32

from cobot.datasets.abdomen_build import Build, cavity, muscle_wall, skin, under_diaphragm
from cobot.datasets.implicit import (
    Distance,
    Number,
    Points,
    Vector,
    carve,
    ellipsoid,
    merge,
    oval,
    tube,
)
from cobot.datasets.scene import Bounds, Structure, layer

SPINE, AORTA, VENA_CAVA = 5, 6, 7
VERTEBRA_MM = 34.0
DISC_MM = 8.0
EVERYWHERE_Z_MM = 260.0


def trunk(build: Build) -> list[Structure]:
    """Everything that is painted before the organs."""
    return [*_wall(build), *_chest(build), *_muscles(build), *_ribs(build), *_spine(build)]


def vessels(build: Build) -> list[Structure]:
    """Aorta and vena cava, the whole length, painted after what they run through."""
    x, y, _ = build.near((-10, -14, 0), 2)
    bulge = float(build.rng.uniform(9, 12.5))
    aorta = _vertical(
        ((x + 4, y - 8, 130), (x, y, 20), (x + 3, y + 3, -130)), (bulge, bulge, bulge * 0.8)
    )
    cx, cy, _ = build.near((22, -8, 0), 2)
    size = float(build.rng.uniform(9, 13))
    vena = _vertical(
        ((cx + 4, cy + 12, 130), (cx + 2, cy + 4, 25), (cx - 2, cy - 2, -130)), (size,) * 3
    )
    return [
        Structure(vena, build.hu["vein"], VENA_CAVA, Bounds((22, 0, 0), (30, 40, EVERYWHERE_Z_MM))),
        Structure(aorta, build.hu["aorta"], AORTA, Bounds((-8, -14, 0), (30, 30, EVERYWHERE_Z_MM))),
    ]


def _vertical(path: tuple[Vector, ...], radii: tuple[Number, ...]) -> "partial[Distance]":
    return partial(tube, path_mm=path, radii_mm=radii)


def _wall(build: Build) -> list[Structure]:
    """Skin, fat under it, the layered muscles of the belly, and the fat between the organs."""
    wave, strands = build.ripple(1.2, (60, 140)), build.ripple(7, (9, 22))
    muscle = build.hu["muscle"]

    def skin_hu(_: Points, distance: Distance) -> Distance:
        return layer(distance + 2, 15, -106)

    def wall_hu(p: Points, distance: Distance) -> Distance:
        """Three flat muscles with thin fat between them at the sides."""
        seam = np.abs(np.abs(distance + 6) - 2.2) < 0.5
        lateral = (np.abs(p[0]) > 60) & (p[1] > -40)
        return np.where(seam & lateral, -20, muscle).astype(np.float32)

    return [
        Structure(lambda p: skin(build, p), skin_hu),
        Structure(lambda p: muscle_wall(build, p) + wave(p)[0], wall_hu),
        Structure(lambda p: cavity(build, p), lambda p, _: strands(p)[0] - 103),
    ]


def _muscles(build: Build) -> list[Structure]:
    """What fills the space around the arches, erector spinae, quadratus lumborum and psoas."""
    s, hu = build.scale, build.hu["muscle"]
    thick = float(build.rng.uniform(0.85, 1.15))
    midline = partial(oval, centre_mm=(0, -73 * s), radii_mm=(30 * s, 25 * s), squareness=0.3)
    return [
        Structure(midline, hu, bounds=Bounds((0, -73, 0), (36, 34, EVERYWHERE_Z_MM))),
        *_muscles_of_side(build, 1, thick),
        *_muscles_of_side(build, -1, thick),
    ]


def _muscles_of_side(build: Build, side: int, thick: Number) -> list[Structure]:
    s, hu, wave = build.scale, build.hu["muscle"], build.ripple(1.5, (25, 60))
    back = 21 * s - (build.half_depth_mm - 0.45 * build.fat_mm)
    path = (
        (side * 22 * s, -44 * s, 25),
        (side * 36 * s, -40 * s, -40),
        (side * 44 * s, -30 * s, -130),
    )

    def erector(p: Points) -> Distance:
        return oval(p, (side * 31 * s, back), (26 * s, 17 * s * thick), 0.25) + wave(p)[0]

    def psoas(p: Points) -> Distance:
        return tube(p, path, (4, 16 * s * thick, 21 * s * thick)) + wave(p)[0]

    def quadratus(p: Points) -> Distance:
        return np.maximum(oval(p, (side * 62 * s, -58 * s), (20 * s, 8 * s)), p[2] - 15)

    return [
        Structure(erector, hu, bounds=Bounds((side * 31, back, 0), (40, 30, EVERYWHERE_Z_MM))),
        Structure(psoas, hu, bounds=Bounds((side * 34, -38, -70), (40, 40, 120))),
        Structure(quadratus, hu, bounds=Bounds((side * 62, -58, -100), (30, 20, 130))),
    ]


def _ribs(build: Build) -> list[Structure]:
    """Ribs run down and forward in the wall, end in cartilage, and end higher nearer the front."""
    period = 29.0 * build.scale
    start = float(build.rng.uniform(0, period))

    def rib(p: Points) -> Distance:
        depth = muscle_wall(build, p) + 5.0
        front = p[1] / (build.half_depth_mm * 0.8)
        height = p[2] + 34 * (front + 0.9) + start
        around = (height + period / 2) % period - period / 2
        flat = np.sqrt((depth / 3.6) ** 2 + (around / 6.8) ** 2)
        lowest = -38 + 62 * np.clip(front + 0.75, 0, None)
        ends = np.maximum(lowest - p[2], 16 - np.abs(p[0]))
        return np.maximum((flat - 1) * 3.6, ends)

    def rib_hu(p: Points, distance: Distance) -> Float32[np.ndarray, "*grid"]:
        shell = np.where(distance > -1.6, 620, 230)
        cartilage = p[1] > 0.52 * build.half_depth_mm
        return np.where(cartilage, 115, shell).astype(np.float32)

    return [Structure(rib, rib_hu)]


def _spine(build: Build) -> list[Structure]:
    """Vertebral bodies with discs, canal with cord, pedicles, laminae and processes."""
    s = build.scale
    start = float(build.rng.uniform(0, VERTEBRA_MM))
    column = Bounds((0, -64 * s, 0), (52 * s, 44 * s, EVERYWHERE_Z_MM))

    def level(p: Points) -> Float32[np.ndarray, "*grid"]:
        """Millimetres above the middle of the nearest vertebral body."""
        return ((p[2] + start + VERTEBRA_MM / 2) % VERTEBRA_MM - VERTEBRA_MM / 2).astype(np.float32)

    def body(p: Points) -> Distance:
        z = level(p)
        waist = 1.8 * np.cos(z * (2 * np.pi / VERTEBRA_MM))
        column_mm = oval(p, (0, -43 * s), (22 * s, 17 * s), 0.25) + waist
        return carve(column_mm, oval(p, (0, -62 * s), (13 * s, 7 * s)), 3)

    def arch(p: Points) -> Distance:
        local = np.stack([np.abs(p[0]), p[1], level(p)])
        pedicle = tube(local, ((15 * s, -52 * s, 5), (14 * s, -64 * s, 3)), (5.5, 6.0))
        lamina = tube(local, ((14 * s, -64 * s, 2), (5 * s, -76 * s, -5)), (5.5, 4.0))
        transverse = tube(local, ((14 * s, -64 * s, 3), (38 * s, -68 * s, 3)), (4.5, 3.2))
        spinous = tube(local, ((0, -76 * s, -5), (0, -96 * s, -11)), (3.4, 4.2))
        return merge(merge(pedicle, lamina, 3), np.minimum(transverse, spinous), 3)

    def canal(p: Points) -> Distance:
        return oval(p, (0, -64.5 * s), (10.5 * s, 8.5 * s), 0.25)

    def bone_hu(p: Points, distance: Distance) -> Distance:
        past_plate = np.abs(level(p)) - (VERTEBRA_MM - DISC_MM) / 2
        shell = (distance > -2.0) | (past_plate > -1.8)
        return np.where(past_plate > 0, 82, np.where(shell, 430, marrow_hu)).astype(np.float32)

    def canal_hu(p: Points, _: Distance) -> Distance:
        return layer(oval(p, (0, -64 * s), (5.5 * s, 4.2 * s)), 12, 42)

    marrow_hu = float(build.rng.uniform(130, 240))
    return [
        Structure(body, bone_hu, SPINE, column),
        Structure(arch, lambda p, d: layer(d + 1.6, 430, marrow_hu), SPINE, column),
        Structure(canal, canal_hu, SPINE, column),
    ]


def _chest(build: Build) -> list[Structure]:
    """Diaphragm, lungs with their vessels, and the lower heart in its fat."""
    texture = build.ripple(12, (8, 20))
    heart, radii = build.near((-20, 32, 108), 5), build.about((66, 48, 44))

    def chest(p: Points) -> Distance:
        return np.maximum(cavity(build, p) + 2, -under_diaphragm(build, p))

    def chest_hu(p: Points, distance: Distance) -> Distance:
        middle = merge(
            oval(p, (-2, -34), (28, 34)),
            ellipsoid(p, (heart[0], heart[1], heart[2]), radii) - 4,
            12,
        )
        air = texture(p)[0] * 2 - 850 - p[1] * np.float32(0.5)
        within = np.where(middle < 0, np.float32(-95), air)
        rim = np.clip(0.5 - (distance + 3), 0, 1)
        return (build.hu["muscle"] + rim * (within - build.hu["muscle"])).astype(np.float32)

    return [
        Structure(chest, chest_hu),
        Structure(
            lambda p: ellipsoid(p, heart, radii),
            build.hu["vein"] * 0.9,
            bounds=Bounds(heart, radii),
        ),
    ]
