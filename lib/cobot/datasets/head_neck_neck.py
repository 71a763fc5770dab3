"""The neck of the head-and-neck phantom: spine and cord, muscles, vessels, larynx, esophagus."""

from functools import partial

import numpy as np
from jaxtyping import Float32

from cobot.datasets.head_neck_build import HeadBuild, body_outline
from cobot.datasets.implicit import Distance, Points, Vector, ellipsoid, merge, oval, tube
from cobot.datasets.scene import Bounds, Structure, layer

CORD, ESOPHAGUS, LARYNX = 2, 5, 6
PERIOD_MM = 17.0
SPINE_TOP_MM = -14.0
DOWN_MM = -190.0


def neck(build: HeadBuild) -> list[Structure]:
    """Everything of the neck, in painting order."""
    return [
        *_muscles(build),
        *_vessels(build, 1),
        *_vessels(build, -1),
        *_spine(build),
        *_esophagus(build),
        *_lungs(build),
        *_larynx(build),
    ]


def _muscles(build: HeadBuild) -> list[Structure]:
    """The column of muscles around the spine and the two that turn the head."""
    seams = build.ripple(1.0, (14, 30))
    r = build.neck_mm

    def column(p: Points) -> Distance:
        around = oval(p, (0, -46), (r * 0.8, r * 0.66), 0.2)
        under_head = p[2] - (2 + 0.1 * p[1])
        return np.maximum(np.maximum(around, under_head), body_outline(build, p) + 7)

    def column_hu(p: Points, _: Distance) -> Distance:
        seam = np.abs(seams(p)[0]) < 0.09
        return np.where(seam, -25, 58).astype(np.float32)

    def strap(p: Points) -> Distance:
        mirrored = np.stack([np.abs(p[0]), p[1], p[2]])
        path = ((60.0, -34.0, 4.0), (42.0, -2.0, -60.0), (12.0, 22.0, -130.0))
        return tube(mirrored, path, (8.0, 10.0, 8.0))

    box = Bounds((0, -10, -64), (76, 54, 84))
    return [
        Structure(column, column_hu, bounds=Bounds((0, -46, -90), (60, 52, 105))),
        Structure(strap, 60.0, bounds=box),
    ]


def _vessels(build: HeadBuild, side: int) -> list[Structure]:
    """Carotid and jugular, beside the throat."""
    blood = 42 + build.contrast_hu
    low_carotid, low_jugular = (side * 16.0, -2.0, DOWN_MM), (side * 28.0, 4.0, DOWN_MM)
    carotid = (build.at((side * 24, -4, 0)), build.at((side * 26, 2, -60)), low_carotid)
    jugular = (build.at((side * 33, -14, 0)), build.at((side * 36, -4, -60)), low_jugular)
    width = float(build.rng.uniform(5, 9))
    box = Bounds((side * 28, -4, -95), (26, 26, 110))
    return [
        Structure(
            partial(tube, path_mm=carotid, radii_mm=(3.0, 4.0, 4.0)), blood * 1.2, bounds=box
        ),
        Structure(partial(tube, path_mm=jugular, radii_mm=(5.0, width, 8.0)), blood, bounds=box),
    ]


def _spine(build: HeadBuild) -> list[Structure]:
    """Cervical vertebrae, fluid in the canal, and the cord."""
    s = build.scale
    start = float(build.rng.uniform(0, PERIOD_MM))
    centre = build.at((0, -40, 0), 1.0)[1]
    cord_radius = float(build.rng.uniform(4.6, 6.2)) * s

    def level(p: Points) -> Float32[np.ndarray, "*grid"]:
        return ((p[2] + start) % PERIOD_MM - PERIOD_MM / 2).astype(np.float32)

    def local(p: Points) -> Points:
        """Around the canal, mirrored, each vertebra at height 0; the neck bends forward."""
        return np.stack([np.abs(p[0]), p[1] - bend(p), level(p)])

    def bend(p: Points) -> Float32[np.ndarray, "*grid"]:
        return (centre + 0.0011 * (p[2] + 95) ** 2 - 8).astype(np.float32)

    def bone(p: Points) -> Distance:
        here = local(p)
        body = oval(here, (0, 16 * s), (13 * s, 9 * s), 0.4)
        wing = tube(
            here, ((12 * s, 8 * s, 0), (20 * s, 4 * s, 0), (13 * s, -9 * s, 0)), (4.0, 5.0, 4.5)
        )
        lamina = tube(here, ((13 * s, -9 * s, -1), (0, -17 * s, -4)), (3.4, 3.2))
        spinous = tube(here, ((0, -17 * s, -4), (3, -34 * s, -7)), (3.0, 3.0))
        arch = np.minimum(np.minimum(wing, lamina), spinous)
        return np.maximum(merge(body, arch, 3), p[2] - SPINE_TOP_MM)

    def bone_hu(p: Points, distance: Distance) -> Distance:
        disc = (np.abs(level(p)) > PERIOD_MM / 2 - 2.2) & (p[1] - bend(p) > 6)
        return np.where(disc, 85, layer(distance + 1.8, 620, 290)).astype(np.float32)

    def canal(p: Points) -> Distance:
        round_ = oval(local(p), (0, -1), (11 * s, 8 * s))
        return np.maximum(round_, p[2] - SPINE_TOP_MM)

    def cord(p: Points) -> Distance:
        round_ = oval(local(p), (0, -1), (cord_radius * 1.25, cord_radius))
        return np.maximum(round_, p[2] - SPINE_TOP_MM)

    box = Bounds((0, centre, -105), (34, 54, 100))
    return [
        Structure(bone, bone_hu, bounds=box),
        Structure(canal, 10.0, bounds=box),
        Structure(cord, 36.0, CORD, box),
    ]


def _esophagus(build: HeadBuild) -> list[Structure]:
    """A flat muscular tube between windpipe and spine, often with a little air."""
    path = (build.at((0, -8, -84)), build.at((-4, -12, -130)), build.at((-6, -18, -190)))
    has_air = bool(build.rng.random() < 0.5)
    shape = partial(tube, path_mm=path, radii_mm=(6.5, 7.5, 8.0))

    def esophagus_hu(_: Points, distance: Distance) -> Distance:
        return layer(distance + 5.2, 45, -500 if has_air else 38)

    return [Structure(shape, esophagus_hu, ESOPHAGUS, Bounds((-4, -14, -138), (20, 24, 64)))]


def _lungs(build: HeadBuild) -> list[Structure]:
    """The tops of the lungs, the collar bones and the first ribs."""
    top = float(build.rng.uniform(-128, -112))

    def apex(p: Points, side: int) -> Distance:
        return ellipsoid(p, (side * 48.0, -36.0, top - 62), (36, 42, 62))

    structures = []
    for side in (1, -1):
        collar: tuple[Vector, ...] = ((side * 14.0, 30.0, top - 12), (side * 120.0, -6.0, top + 6))
        lung = partial(apex, side=side)
        box = Bounds((side * 48, -36, top - 62), (44, 50, 70))
        structures += [
            Structure(partial(_grown, shape=lung), lambda p, d: layer(d + 2, 420, 58), bounds=box),
            Structure(lung, -840.0, bounds=box),
            Structure(
                partial(tube, path_mm=collar, radii_mm=(8.0, 7.0)),
                lambda p, d: layer(d + 2, 800, 350),
                bounds=Bounds((side * 67, 12, top - 3), (66, 30, 22)),
            ),
        ]
    return structures


def _grown(points: Points, shape: "partial[Distance]") -> Distance:
    return shape(points) - 6


def _larynx(build: HeadBuild) -> list[Structure]:
    """Thyroid cartilage around the airway, thyroid gland below, and the windpipe."""
    x, y, z = build.at((0, 14, -76), 2)
    radii = build.about((19, 19, 20))
    airway = ((x, y - 4, z + 26), (x, y - 4, z), (x, y - 8, z - 40), (0.0, y - 16, DOWN_MM))
    narrow = float(build.rng.uniform(3, 6))
    gland = ((x + 17, y - 12, z - 22), (x + 17, y - 14, z - 50))

    def larynx(p: Points) -> Distance:
        return ellipsoid(p, (x, y - 2, z), radii)

    def larynx_hu(p: Points, distance: Distance) -> Distance:
        plate = np.abs(distance + 3.5) < 1.6
        front = p[1] > y - 6
        return np.where(plate & front, 190, 55).astype(np.float32)

    def thyroid(p: Points) -> Distance:
        return tube(np.stack([np.abs(p[0] - x) + x, p[1], p[2]]), gland, (7.0, 9.0))

    box, lobes = Bounds((x, y, z), (26, 26, 28)), Bounds((x, y - 13, z - 36), (32, 20, 30))
    windpipe = partial(tube, path_mm=airway, radii_mm=(6.0, narrow, 8.5, 9.0))
    tracheal = Bounds((x, y - 8, z - 50), (20, 24, 90))
    return [
        Structure(thyroid, 95.0 + build.contrast_hu * 0.6, bounds=lobes),
        Structure(lambda p: windpipe(p) - 2.5, 70.0, bounds=tracheal),
        Structure(larynx, larynx_hu, LARYNX, box),
        Structure(windpipe, -985.0, bounds=tracheal),
    ]
