"""The trunk around the organs: skin, fat, muscles, ribs, spine, lungs and great vessels."""

from functools import partial

import numpy as np
from jaxtyping import Float32

from cobot.datasets.abdomen_build import Build, cavity, muscle_wall, skin, under_diaphragm
from cobot.datasets.implicit import (
    Distance,
    Points,
    Vector,
    Waves,
    carve,
    ellipsoid,
    merge,
    oval,
    tube,
)
from cobot.datasets.scene import Bounds, Structure

SPINE, AORTA, VENA_CAVA = 5, 6, 7
VERTEBRA_MM = 34.0
DISC_MM = 8.0
EVERYWHERE_Z_MM = 260.0


def trunk(build: Build) -> list[Structure]:
    """Everything that is painted before the organs."""
    return [*_wall(build), *_muscles(build), *_ribs(build), *_spine(build), *_chest(build)]


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


def _vertical(path: tuple[Vector, ...], radii: tuple[float, ...]) -> "partial[Distance]":
    return partial(tube, path_mm=path, radii_mm=radii)


def _wall(build: Build) -> list[Structure]:
    wave = build.ripple(1.2, (60, 140))
    strands = build.ripple(14, (9, 22))

    def body(p: Points) -> Distance:
        return skin(build, p)

    def under_skin(p: Points) -> Distance:
        return skin(build, p) + 2.0

    def muscle(p: Points) -> Distance:
        return muscle_wall(build, p) + wave(p)[0]

    def inside(p: Points) -> Distance:
        return cavity(build, p) + 0.6 * wave(p)[0]

    def fat_hu(p: Points, _: Distance) -> Float32[np.ndarray, "*grid"]:
        return strands(p)[0] - 103

    def muscle_hu(p: Points, _: Distance) -> Float32[np.ndarray, "*grid"]:
        """Three flat muscles with thin fat between them at the sides."""
        depth = muscle_wall(build, p)
        seam = np.abs(np.abs(depth + 6) - 2.2) < 0.5
        lateral = (np.abs(p[0]) > 60) & (p[1] > -40)
        return np.where(seam & lateral, -20, build.hu["muscle"]).astype(np.float32)

    return [
        Structure(body, 15.0),
        Structure(under_skin, -106.0),
        Structure(muscle, muscle_hu),
        Structure(inside, fat_hu),
    ]


def _muscles(build: Build) -> list[Structure]:
    """Erector spinae, quadratus lumborum, psoas and rectus."""
    s, grow = build.scale, float(build.rng.uniform(0.85, 1.15))
    back = muscle_back_mm(build)
    wave = build.ripple(1.5, (25, 60))
    hu = build.hu["muscle"]
    structures = []
    for side in (1, -1):
        rope = partial(
            oval,
            centre_mm=(side * 31 * s, back + 21 * s),
            radii_mm=(26 * s, 17 * s * grow),
            power=2.2,
        )
        flank = partial(
            oval, centre_mm=(side * 62 * s, -58 * s), radii_mm=(20 * s, 8 * s), power=2.0
        )
        psoas = partial(
            tube,
            path_mm=(
                (side * 22 * s, -44 * s, 25),
                (side * 36 * s, -40 * s, -40),
                (side * 44 * s, -30 * s, -130),
            ),
            radii_mm=(4, 16 * s * grow, 21 * s * grow),
        )
        structures += [
            Structure(
                _rippled(shape, wave),
                hu,
                bounds=Bounds((side * 45, y, 0), (60, 50, EVERYWHERE_Z_MM)),
            )
            for shape, y in ((rope, back + 21 * s), (psoas, -40.0))
        ]
        structures.append(
            Structure(
                lambda p, flank=flank: np.maximum(flank(p), p[2] - 15),
                hu,
                bounds=Bounds((side * 62, -58, -100), (30, 20, 130)),
            )
        )
    return structures


def muscle_back_mm(build: Build) -> float:
    """How far back the muscles of the back reach."""
    return -(build.half_depth_mm - 0.45 * build.fat_mm)


def _rippled(shape: "partial[Distance]", wave: Waves) -> "partial[Distance]":
    return partial(_add_ripple, shape=shape, wave=wave)


def _add_ripple(points: Points, shape: "partial[Distance]", wave: Waves) -> Distance:
    return shape(points) + wave(points)[0]


def _ribs(build: Build) -> list[Structure]:
    """Ribs run down and forward in the wall, end in cartilage, and end higher nearer the front."""
    period = 29.0 * build.scale
    start = float(build.rng.uniform(0, period))

    def rib(p: Points) -> Distance:
        depth = (muscle_wall(build, p) + cavity(build, p)) / 2 + 1.5
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
        column_mm = oval(p, (0, -43 * s), (22 * s, 17 * s), 2.3) + waist
        return carve(column_mm, oval(p, (0, -62 * s), (13 * s, 7 * s), 2), 3)

    def disc(p: Points) -> Distance:
        return np.maximum(body(p), VERTEBRA_MM / 2 - DISC_MM / 2 - np.abs(level(p)))

    def arch(p: Points) -> Distance:
        local = np.stack([np.abs(p[0]), p[1], level(p)])
        pedicle = tube(local, ((15 * s, -52 * s, 5), (14 * s, -64 * s, 3)), (5.5, 6.0))
        lamina = tube(local, ((14 * s, -64 * s, 2), (5 * s, -76 * s, -5)), (5.5, 4.0))
        transverse = tube(local, ((14 * s, -64 * s, 3), (38 * s, -68 * s, 3)), (4.5, 3.2))
        spinous = tube(local, ((0, -76 * s, -5), (0, -96 * s, -11)), (3.4, 4.2))
        return merge(merge(pedicle, lamina, 3), np.minimum(transverse, spinous), 3)

    def canal(p: Points) -> Distance:
        return oval(p, (0, -64.5 * s), (10.5 * s, 8.5 * s), 2.1)

    def bone_hu(p: Points, distance: Distance) -> Float32[np.ndarray, "*grid"]:
        plate = np.abs(np.abs(level(p)) - (VERTEBRA_MM - DISC_MM) / 2) < 1.2
        return np.where((distance > -2.0) | plate, 430, marrow_hu).astype(np.float32)

    marrow_hu = float(build.rng.uniform(130, 240))
    return [
        Structure(body, bone_hu, SPINE, column),
        Structure(disc, 82.0, SPINE, column),
        Structure(arch, bone_hu, SPINE, column),
        Structure(canal, 14.0, SPINE, column),
        Structure(lambda p: oval(p, (0, -64 * s), (5.5 * s, 4.2 * s), 2.0), 42.0, SPINE, column),
    ]


def _chest(build: Build) -> list[Structure]:
    """Diaphragm, lungs and the lower heart."""
    wave = build.ripple(9, (8, 20))
    heart = build.near((-22, 34, 124), 5)
    radii = build.about((62, 46, 46))

    def chest(p: Points) -> Distance:
        return np.maximum(cavity(build, p) + 2.5, -under_diaphragm(build, p))

    def lung(p: Points) -> Distance:
        middle = oval(p, (-6, -20), (34, 70), 2.2)
        return np.maximum(chest(p) + 3, -middle)

    def lung_hu(p: Points, _: Distance) -> Float32[np.ndarray, "*grid"]:
        return -845 + 25 * np.maximum(wave(p)[0], 0) - p[1] * 0.6

    return [
        Structure(chest, build.hu["muscle"]),
        Structure(lung, lung_hu),
        Structure(
            lambda p: ellipsoid(p, heart, radii),
            build.hu["vein"] * 0.9,
            bounds=Bounds(heart, radii),
        ),
    ]
