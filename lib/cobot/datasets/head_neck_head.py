"""The head of the head-and-neck phantom: brain, face, eyes, parotids."""

from functools import partial

import numpy as np

from cobot.datasets.head_neck_bones import mandible, skull
from cobot.datasets.head_neck_build import (
    CRANIUM_CENTRE_MM,
    HeadBuild,
    body_outline,
    cranium,
    scaled,
)
from cobot.datasets.implicit import (
    Distance,
    Points,
    ellipsoid,
    tube,
    turn_about,
)
from cobot.datasets.scene import Bounds, Shape, Structure, layer

BRAINSTEM, BRAIN = 1, 10
PAROTIDS = {1: 3, -1: 4}
EYES = {1: 8, -1: 9}


def head(build: HeadBuild) -> list[Structure]:
    """Everything of the head, in painting order."""
    return [
        *_soft_face(build),
        *skull(build),
        *_brain(build),
        *_airspaces(build),
        *mandible(build),
        *_side(build, 1),
        *_side(build, -1),
    ]


def _soft_face(build: HeadBuild) -> list[Structure]:
    """Muscles of the face and tongue."""
    tongue, radii = build.at((0, 36, -26)), build.about((28, 34, 26))
    chewing = [(build.at((side * 52, 26, -16)), build.about((9, 16, 32)), side) for side in (1, -1)]
    muscles = [
        Structure(partial(ellipsoid, centre_mm=c, radii_mm=r), 58.0, bounds=Bounds(c, r))
        for c, r, _ in chewing
    ]
    strands = build.ripple(14, (8, 20))
    return [
        Structure(
            partial(ellipsoid, centre_mm=tongue, radii_mm=radii),
            lambda p, _: strands(p)[0] + 42,
            bounds=Bounds(tongue, radii),
        ),
        *muscles,
    ]


def _brain(build: HeadBuild) -> list[Structure]:
    """Fluid, brain with folds and ventricles, cerebellum, brainstem."""
    s = build.scale
    folds, wave = build.ripple(2.4, (16, 32)), build.ripple(0.8, (15, 40))
    stem = (build.at((0, -14, 22)), build.at((0, -20, 6)), build.at((0, -34, -18)))
    stem_radii = (15 * s, 14 * s, 7 * s)
    horn = build.at((10, 20, 66)), build.at((16, -38, 62))

    def inside(p: Points) -> Distance:
        return np.maximum(cranium(build, p) + 7, 11 * s + 0.16 * p[1] - p[2])

    def brain(p: Points) -> Distance:
        return inside(p) + 2.5 + np.maximum(folds(p)[0], -1.5)

    def brain_hu(p: Points, distance: Distance) -> Distance:
        mirrored = np.stack([np.abs(p[0]), p[1], p[2]])
        ventricle = np.minimum(tube(mirrored, horn, (6 * s, 8 * s)), np.abs(p[0]) - 1.0)
        matter = layer(distance + 5 + folds(p)[0], 39, 28)
        return matter + np.clip(0.5 - ventricle, 0, 1) * (8 - matter)

    def brainstem(p: Points) -> Distance:
        return tube(p, stem, stem_radii) + wave(p)[0]

    bounds = Bounds(scaled((0, -24, 8), s), (24, 36, 48))
    foramen = partial(tube, path_mm=stem, radii_mm=tuple(r + 4 for r in stem_radii))
    skull_box = Bounds(scaled(CRANIUM_CENTRE_MM, s), (72 * s, 91 * s, 80 * s))
    return [
        Structure(inside, 8.0, bounds=skull_box),
        Structure(brain, brain_hu, BRAIN, skull_box),
        Structure(foramen, 8.0, bounds=bounds),
        Structure(brainstem, 33.0, BRAINSTEM, bounds),
    ]


def _airspaces(build: HeadBuild) -> list[Structure]:
    """Nose with its septum, sinuses, and the throat down to the larynx."""
    s = build.scale
    throat = (
        build.at((0, 46, 12)), build.at((0, 14, 2)), build.at((0, 8, -26)), build.at((0, 8, -62)),
    )  # fmt: skip
    cavity, antrum = build.at((0, 66, 12)), build.at((27, 58, 8))
    full = bool(build.rng.random() < 0.25)

    def nose(p: Points) -> Distance:
        shells = np.abs(np.abs(p[0]) - 8 * s) - 2.2
        room = ellipsoid(p, cavity, (15 * s, 32 * s, 20 * s))
        return np.maximum(room, -np.minimum(np.abs(p[0]) - 1.2, shells))

    def sinuses(p: Points) -> Distance:
        mirrored = np.stack([np.abs(p[0]), p[1], p[2]])
        return ellipsoid(mirrored, antrum, (13 * s, 17 * s, 15 * s))

    bounds = Bounds(scaled((0, 60, 10), s), (46, 40, 30))
    pharynx = partial(tube, path_mm=throat, radii_mm=(8 * s, 10 * s, 8 * s, 7 * s))
    return [
        Structure(sinuses, 25.0 if full else -960.0, bounds=bounds),
        Structure(nose, -950.0, bounds=bounds),
        Structure(lambda p: pharynx(p) - 5, 52.0, bounds=Bounds((0, 24, -26), (26, 44, 60))),
        Structure(pharynx, -980.0, bounds=Bounds((0, 24, -26), (22, 44, 56))),
    ]


def _side(build: HeadBuild, side: int) -> list[Structure]:
    """Eye in its orbit and parotid behind the jaw, on one side (1 right, -1 left)."""
    eye = build.at((side * 32, 72, 30), 1)
    orbit = (eye[0] - side * 5, eye[1] - 14, eye[2])
    gland, radii = build.at((side * 58, -6, -12), 2.5), build.about((11, 20, 30), 0.15)
    lobules = build.ripple(3.0, (10, 26))
    mean_hu = float(build.rng.uniform(-25, 40)) + 0.3 * build.contrast_hu
    lens = (eye[0], eye[1] + 8, eye[2])
    nerve = ((eye[0] - side * 2, eye[1] - 12, eye[2]), (side * 8.0, 28.0, 28.0))
    turn = turn_about(2, side * float(build.rng.normal(-25, 8)))

    def parotid(p: Points) -> Distance:
        lobulated = ellipsoid(p, gland, radii, turn) + lobules(p)[0]
        return np.maximum(lobulated, body_outline(build, p) + 5)

    def parotid_hu(p: Points, _: Distance) -> Distance:
        return mean_hu + 6 * lobules(p * np.float32(1.7))[0]

    def globe(p: Points) -> Distance:
        return ellipsoid(p, eye, (12, 12, 12))

    lens_shape: Shape = partial(ellipsoid, centre_mm=lens, radii_mm=(4.5, 2.2, 4.5))
    eye_box = Bounds(orbit, (26, 34, 22))
    return [
        Structure(
            partial(ellipsoid, centre_mm=orbit, radii_mm=(18, 27, 17)), -92.0, bounds=eye_box
        ),
        Structure(partial(tube, path_mm=nerve, radii_mm=(2.4, 2.4)), 36.0, bounds=eye_box),
        Structure(globe, lambda p, d: layer(d + 1.2, 55, 10), EYES[side], eye_box),
        Structure(lens_shape, 75.0, EYES[side], eye_box),
        Structure(parotid, parotid_hu, PAROTIDS[side], Bounds(gland, (28, 34, 40))),
    ]
