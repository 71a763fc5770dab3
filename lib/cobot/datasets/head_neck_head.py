"""The head of the head-and-neck phantom: skull, brain, face, mandible, parotids."""

from dataclasses import dataclass
from functools import partial

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
    turn_about,
)
from cobot.datasets.scene import Bounds, Shape, Structure, layer

BRAINSTEM, MANDIBLE, BRAIN = 1, 7, 10
PAROTIDS = {1: 3, -1: 4}
EYES = {1: 8, -1: 9}
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
    cranium = ellipsoid(points, _scaled(CRANIUM_CENTRE_MM, s), (77 * s, 97 * s, 86 * s))
    jaw = ellipsoid(points, _scaled((0, 28, -14), s), (64 * s, 62 * s, 62 * s))
    nose = tube(points, (_scaled((0, 84, 34), s), _scaled((0, 104, 10), s)), (8.0, 13.0))
    neck = tube(
        points, (_scaled((0, -26, -10), s), (0, -30, -180)), (build.neck_mm, build.neck_mm * 1.1)
    )
    shoulders = ellipsoid(points, (0, -32, -190), (230, 86, 88))
    face = merge(merge(cranium, jaw, 30), nose, 12)
    return merge(merge(face, neck, 30), shoulders, 60)


def head(build: HeadBuild) -> list[Structure]:
    """Everything of the head, in painting order."""
    return [
        *_soft_face(build),
        *_skull(build),
        *_brain(build),
        *_airspaces(build),
        *_mandible(build),
        *_side(build, 1),
        *_side(build, -1),
    ]


def cranium(build: HeadBuild, points: Points) -> Distance:
    """Outside of the skull's vault."""
    s = build.scale
    return ellipsoid(points, _scaled(CRANIUM_CENTRE_MM, s), (71 * s, 90 * s, 79 * s))


def _scaled(place_mm: Vector, scale: Number) -> Vector:
    x, y, z = place_mm
    return x * scale, y * scale, z * scale


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


def _skull(build: HeadBuild) -> list[Structure]:
    """Vault with diploe, base with the dense petrous bones, cheeks and upper jaw."""
    s = build.scale

    def base(p: Points) -> Distance:
        floor = np.abs(p[2] - 6 * s - 0.16 * p[1]) - 5
        return np.maximum(floor, cranium(build, p))

    def maxilla(p: Points) -> Distance:
        mirrored = np.stack([np.abs(p[0]), p[1], p[2]])
        cheek = tube(mirrored, (_scaled((34, 76, 12), s), _scaled((62, 40, 10), s)), (7.0, 3.5))
        temple = tube(mirrored, (_scaled((62, 40, 10), s), _scaled((66, 8, 12), s)), (3.5, 3.5))
        palate = ellipsoid(p, _scaled((0, 58, -6), s), (30 * s, 32 * s, 8 * s))
        rim = tube(mirrored, (_scaled((12, 84, 40), s), _scaled((48, 66, 38), s)), (5.0, 4.5))
        return np.minimum(np.minimum(cheek, temple), np.minimum(palate, rim))

    def petrous(p: Points) -> Distance:
        mirrored = np.stack([np.abs(p[0]), p[1], p[2]])
        ridge = (_scaled((14, 2, 8), s), _scaled((58, -28, 8), s))
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

    bounds = Bounds(_scaled((0, -24, 8), s), (24, 36, 48))
    foramen = partial(tube, path_mm=stem, radii_mm=tuple(r + 4 for r in stem_radii))
    skull_box = Bounds(_scaled(CRANIUM_CENTRE_MM, s), (72 * s, 91 * s, 80 * s))
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

    bounds = Bounds(_scaled((0, 60, 10), s), (46, 40, 30))
    pharynx = partial(tube, path_mm=throat, radii_mm=(8 * s, 10 * s, 8 * s, 7 * s))
    return [
        Structure(sinuses, 25.0 if full else -960.0, bounds=bounds),
        Structure(nose, -950.0, bounds=bounds),
        Structure(lambda p: pharynx(p) - 5, 52.0, bounds=Bounds((0, 24, -26), (26, 44, 60))),
        Structure(pharynx, -980.0, bounds=Bounds((0, 24, -26), (22, 44, 56))),
    ]


def _mandible(build: HeadBuild) -> list[Structure]:
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
        arch = (_scaled((31, 38, -22), s), _scaled((25, 62, -23), s), _scaled((3, 77, -23), s))
        row = tube(mirrored, arch, (5.0, 4.5, 4.0))
        along = mirrored[1] - 0.9 * mirrored[0]
        gap = np.abs((along % tooth_period) - tooth_period / 2) - 0.44 * tooth_period
        return np.maximum(row, np.maximum(gap, np.abs(p[2] + 22 * s) - 10))

    bounds = Bounds(_scaled((0, 40, -22), s), (64, 54, 52))
    return [
        Structure(bone, lambda p, d: layer(d + 2.2, 1150, 420), MANDIBLE, bounds),
        Structure(teeth, 1900.0, bounds=bounds),
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
