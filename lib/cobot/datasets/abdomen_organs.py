"""The organs of the abdomen, in the order in which they are painted."""

from functools import partial

import numpy as np
from jaxtyping import Float32

from cobot.datasets.abdomen_build import Build, cavity, under_diaphragm
from cobot.datasets.abdomen_gut import gallbladder, gut, pancreas, stomach
from cobot.datasets.abdomen_trunk import vessels
from cobot.datasets.implicit import (
    Distance,
    Number,
    Points,
    Vector,
    Waves,
    carve,
    ellipsoid,
    merge,
    oval,
    tube,
    turn_about,
)
from cobot.datasets.scene import Bounds, Shape, Structure, Texture

LIVER, SPLEEN, RIGHT_KIDNEY, LEFT_KIDNEY = 1, 2, 3, 4


def organs(build: Build) -> list[Structure]:
    """Everything painted over the trunk; solid organs press hollow ones aside."""
    return [
        *gut(build),
        *stomach(build),
        *vessels(build),
        *pancreas(build),
        *_liver(build),
        *gallbladder(build),
        *_spleen(build),
        *_kidney(build, 1),
        *_kidney(build, -1),
    ]


def _in_abdomen(build: Build, points: Points, gap_mm: Number) -> Distance:
    """The abdomen's inside, `gap_mm` from its wall and close under the diaphragm."""
    return np.maximum(cavity(build, points) + gap_mm, under_diaphragm(build, points) + 1)


def _liver(build: Build) -> list[Structure]:
    """Right and left lobe, fissure, porta, branching portal and hepatic veins."""
    wave = build.ripple(2.6)
    low = float(build.rng.uniform(-12, 14))
    right, right_radii = build.near((84, 4, 24 + low), 4), build.about((80, 82, 88), 0.06)
    left, left_radii = build.near((2, 46, 46 + low / 2), 5), build.about((70, 38, 38))
    hilum = build.near((30, -22, -8), 4)
    fissure = build.near((16, 62, 6), 3)
    turn = turn_about(1, float(build.rng.normal(-18, 6)))

    def shape(p: Points) -> Distance:
        lobes = merge(ellipsoid(p, right, right_radii), ellipsoid(p, left, left_radii, turn), 18)
        lobes = carve(lobes, ellipsoid(p, hilum, (34, 40, 62)), 12)
        lobes = carve(lobes, tube(p, (fissure, (fissure[0], fissure[1] - 30, 26)), (5, 2)), 5)
        lobes = carve(lobes, oval(p, (0, -50), (40, 52)), 8)
        return -merge(-lobes - wave(p)[0], -_in_abdomen(build, p, 4), 4)

    bounds = Bounds((50, 20, 20), (140, 100, 120))
    return [
        Structure(shape, _textured(build.hu["liver"], build.ripple(3, (10, 40))), LIVER, bounds),
        *_liver_veins(build, shape),
    ]


def _liver_veins(build: Build, liver: Shape) -> list[Structure]:
    porta = build.near((34, 8, 14), 3)
    fork = build.near((62, 8, 24), 3)
    reach = [build.near(to, 6) for to in ((100, 30, 30), (98, -28, 34), (104, 0, 0), (20, 44, 34))]
    cava = build.near((26, 0, 66), 2)
    ends = [build.near(to, 6) for to in ((100, 2, 42), (66, 44, 40), (8, 50, 44))]

    def portal(p: Points) -> Distance:
        stem = tube(p, (porta, fork), (7.5, 6))
        for end in reach:
            stem = np.minimum(stem, tube(p, (fork if end[0] > 50 else porta, end), (5, 1.6)))
        return np.maximum(stem, liver(p) + 2)

    def hepatic(p: Points) -> Distance:
        veins = tube(p, (cava, ends[0]), (5.5, 1.6))
        for end in ends[1:]:
            veins = np.minimum(veins, tube(p, (cava, end), (5, 1.5)))
        return np.maximum(veins, liver(p) + 2)

    bounds = Bounds((64, 10, 30), (72, 66, 62))
    return [
        Structure(portal, build.hu["portal"], LIVER, bounds),
        Structure(hepatic, build.hu["portal"] * 0.93, LIVER, bounds),
    ]


def _textured(mean_hu: Number, wave: Waves) -> Texture:
    def hu(p: Points, _: Distance) -> Float32[np.ndarray, "*grid"]:
        return wave(p)[0] + np.float32(mean_hu)

    return hu


def _spleen(build: Build) -> list[Structure]:
    """A crescent under the left dome, hollowed towards stomach and kidney."""
    wave = build.ripple(2.2)
    centre, radii = build.near((-98, -30, 26), 5), build.about((40, 62, 56), 0.12)
    inner = (centre[0] + 34, centre[1] + 16, centre[2] - 6)
    turn = turn_about(2, float(build.rng.normal(-16, 8))) @ turn_about(
        1, float(build.rng.normal(8, 6))
    )

    def shape(p: Points) -> Distance:
        body = ellipsoid(p, centre, radii, turn)
        hollow = ellipsoid(p, inner, (34, 46, 70), turn)
        return -merge(-carve(body, hollow, 9) - wave(p)[0], -_in_abdomen(build, p, 4), 5)

    mottled = build.ripple(18 if build.hu["aorta"] > 220 else 2, (12, 30))
    bounds = Bounds(centre, (80, 80, 80))
    return [Structure(shape, _textured(build.hu["spleen"], mottled), SPLEEN, bounds)]


def _kidney(build: Build, side: int) -> list[Structure]:
    """Cortex, pyramids and a sinus of fat that opens towards the middle and the front."""
    label = RIGHT_KIDNEY if side > 0 else LEFT_KIDNEY
    wave = build.ripple(1.3, (25, 60))
    centre = build.near((side * 62, -44, -40 if side > 0 else -30), 4)
    radii = build.about((28, 25, 54))
    turn = turn_about(1, side * float(build.rng.normal(-13, 4))) @ turn_about(
        2, side * float(build.rng.normal(-28, 8))
    )
    sinus = tuple(np.add(centre, turn.T @ np.array([-side * 17.0, 3, 0])))
    pyramid_phase = float(build.rng.uniform(0, 6.28))

    def outline(p: Points) -> Distance:
        return ellipsoid(p, centre, radii, turn) + wave(p)[0]

    def fat(p: Points) -> Distance:
        return outline(p) - np.float32(6)

    def parenchyma(p: Points) -> Distance:
        return carve(outline(p), ellipsoid(p, sinus, (18, 10, 28), turn), 5)

    def hu(p: Points, distance: Distance) -> Float32[np.ndarray, "*grid"]:
        x, y, z = p
        angle = np.arctan2(y - centre[1], x - centre[0]) * 5 + z * 0.32 + pyramid_phase
        pyramids = np.clip(1.6 * np.sin(angle) + 0.9, 0, 1)
        depth = np.clip((-outline(p) - 5.5) / 2, 0, 1)
        drop = build.hu["cortex"] - build.hu["medulla"]
        return (build.hu["cortex"] - drop * depth * pyramids).astype(np.float32)

    bounds = Bounds(centre, (60, 60, 75))
    vein = _renal_vein(build, side, sinus)
    return [
        Structure(fat, -104.0, bounds=bounds),
        vein,
        Structure(
            partial(ellipsoid, centre_mm=sinus, radii_mm=(7, 5, 10), turn=turn), 12.0, bounds=bounds
        ),
        Structure(parenchyma, hu, label, bounds),
    ]


def _renal_vein(build: Build, side: int, sinus: Vector) -> Structure:
    """The renal vein, from the sinus to the vena cava's side of the spine."""
    x, y, z = sinus
    end = (side * 26.0, -8.0, z + 6)
    path = ((x, y, z), ((x + end[0]) / 2, (y + end[1]) / 2 + 4, z + 4), end)
    return Structure(
        partial(tube, path_mm=path, radii_mm=(4.0, 4.5, 5.0)),
        build.hu["vein"],
        bounds=Bounds((side * 42, -24, z), (40, 40, 20)),
    )
