"""Hollow organs and pancreas: stomach, bowel, gallbladder."""

from functools import partial

import numpy as np
from jaxtyping import Float32

from cobot.datasets.abdomen_build import Build, cavity, under_diaphragm
from cobot.datasets.implicit import (
    Distance,
    Points,
    Vector,
    ellipsoid,
    merge,
    random_waves,
    tube,
    turn_about,
)
from cobot.datasets.scene import Bounds, Structure

STOMACH, GALLBLADDER, PANCREAS, COLON = 8, 9, 10, 11


def stomach(build: Build) -> list[Structure]:
    """Fundus, body and antrum: wall, contents and gas that floats to the front."""
    wave = build.ripple(2.5, (25, 70))
    fundus, body = build.near((-62, -4, 58), 6), build.near((-58, 38, 18), 6)
    antrum = build.near((-6, 44, -14), 6)
    size = float(build.rng.uniform(0.75, 1.25))
    level = float(build.rng.uniform(36, 62))
    content_hu = float(build.rng.choice([8, 25, 45, 140], p=[0.35, 0.3, 0.25, 0.1]))

    def outline(p: Points) -> Distance:
        bag = merge(
            ellipsoid(p, fundus, (32 * size, 32 * size, 30)),
            tube(p, (fundus, body, antrum), (24 * size, 26 * size, 13 * size)),
            10,
        )
        return np.maximum(
            bag + wave(p)[0], np.maximum(cavity(build, p), under_diaphragm(build, p)) + 6
        )

    def lumen_hu(p: Points, _: Distance) -> Float32[np.ndarray, "*grid"]:
        food = content_hu + 2.5 * wave(p * np.float32(3))[0]
        gas = np.clip((p[1] - level) / 2 + 0.5, 0, 1)
        return (food + gas * (-940 - food)).astype(np.float32)

    bounds = Bounds((-48, 26, 24), (88, 90, 90))
    return [
        Structure(outline, build.hu["wall"], STOMACH, bounds),
        Structure(lambda p: outline(p) + 4.5, lumen_hu, STOMACH, bounds),
    ]


def gut(build: Build) -> list[Structure]:
    """Mesenteric vessels, small bowel low in the middle, colon along its frame."""
    return [*_mesentery(build), *_small_bowel(build), *_colon(build)]


def _mesentery(build: Build) -> list[Structure]:
    """Thin vessels in the fat, fanning out from the root of the mesentery."""
    root = build.near((-4, 8, -10), 2)
    trunk_end = build.near((4, 14, -90), 4)
    ends = [build.near((x, 46, z), 14) for x in (-60, -20, 20, 60) for z in (-45, -85)]

    def fan(p: Points) -> Distance:
        stem = tube(p, (root, trunk_end), (6, 4))
        for end in ends:
            stem = np.minimum(stem, tube(p, ((0, 14, end[2] * 0.7), end), (3, 1.4)))
        return stem

    return [Structure(fan, build.hu["portal"], bounds=Bounds((0, 30, -60), (90, 60, 70)))]


def _small_bowel(build: Build) -> list[Structure]:
    """Loops: short bent tubes with a bright wall and water, gruel or a little gas inside."""
    loops = []
    for _ in range(int(build.rng.integers(14, 24))):
        centre = build.near((0, 0, 0), 0)
        x, z = build.rng.uniform(-84, 84), build.rng.uniform(-130, -25)
        y = build.rng.uniform(10, 72) * build.scale
        centre = (float(x), float(y), float(z))
        turn = build.rng.uniform(0, 2 * np.pi)
        half = build.rng.uniform(14, 30)
        step = (
            float(half * np.cos(turn)),
            float(half * 0.6 * np.sin(turn)),
            float(build.rng.uniform(-12, 12)),
        )
        loops.append(_loop(build, centre, step))
    return [structure for loop in loops for structure in loop]


def _loop(build: Build, centre: Vector, step: Vector) -> list[Structure]:
    radius = float(build.rng.uniform(9, 14))
    bend = tuple(np.add(centre, build.rng.normal(0, 8, 3)))
    path = (tuple(np.subtract(centre, step)), bend, tuple(np.add(centre, step)))
    content_hu = float(build.rng.choice([12, 30, 55, 170], p=[0.4, 0.3, 0.2, 0.1]))
    gas_mm = float(build.rng.choice([99, 3, -3], p=[0.75, 0.15, 0.1]))

    def outline(p: Points) -> Distance:
        return np.maximum(tube(p, path, (radius,) * 3), cavity(build, p) + 5)

    def lumen_hu(p: Points, _: Distance) -> Float32[np.ndarray, "*grid"]:
        gas = np.clip((p[1] - centre[1] - gas_mm) / 2, 0, 1)
        return (content_hu + gas * (-900 - content_hu)).astype(np.float32)

    reach = tuple(np.abs(step) + radius + 22)
    bounds = Bounds(centre, reach)
    return [
        Structure(outline, build.hu["wall"] + 8.0, bounds=bounds),
        Structure(lambda p: outline(p) + 2.6, lumen_hu, bounds=bounds),
    ]


def _colon(build: Build) -> list[Structure]:
    """Ascending, transverse and descending: haustra, stool and gas at the front."""
    near = partial(build.near, spread_mm=5)
    path = (
        near((96, 4, -130)), near((94, 0, -30)), near((74, 46, -34)), near((0, 66, -46)),
        near((-70, 46, -8)), near((-102, -6, 4)), near((-104, -16, -130)),
    )  # fmt: skip
    radii = tuple(
        float(r)
        for r in build.rng.uniform((17, 18, 14, 13, 13, 11, 11), (25, 26, 20, 19, 18, 15, 15))
    )
    haustra, stool = build.ripple(2.6, (18, 34)), random_waves(build.rng, 60, (7, 20))
    fill = float(build.rng.uniform(-6, 14))

    def outline(p: Points) -> Distance:
        return np.maximum(tube(p, path, radii) + haustra(p)[0], cavity(build, p) + 4)

    def lumen_hu(p: Points, distance: Distance) -> Float32[np.ndarray, "*grid"]:
        matter = 40 + stool(p)[0]
        matter = np.where(matter < -60, -500, matter)
        gas = np.clip(((p[1] * 0.5 + haustra(p)[0] * 3 - fill) / 4), 0, 1)
        return (matter + gas * (-930 - matter)).astype(np.float32)

    bounds = Bounds((0, 24, -60), (150, 100, 110))
    return [
        Structure(outline, build.hu["wall"], COLON, bounds),
        Structure(lambda p: outline(p) + 3, lumen_hu, COLON, bounds),
    ]


def gallbladder(build: Build) -> list[Structure]:
    """A pear of bile under the liver."""
    centre, radii = build.near((54, 40, -16), 5), build.about((14, 26, 17), 0.15)
    turn = turn_about(2, float(build.rng.normal(20, 12)))
    bounds = Bounds(centre, (32, 32, 32))
    shape = partial(ellipsoid, centre_mm=centre, radii_mm=radii, turn=turn)
    return [
        Structure(lambda p: shape(p) - 1.6, build.hu["wall"], GALLBLADDER, bounds),
        Structure(shape, float(build.rng.uniform(2, 18)), GALLBLADDER, bounds),
    ]


def pancreas(build: Build) -> list[Structure]:
    """Head in the bend of the duodenum, body over the spine, tail to the spleen; lobulated."""
    lobules = build.ripple(2.2, (9, 22))
    head, neck = build.near((32, 14, -22), 3), build.near((2, 26, -2), 3)
    body, tail = build.near((-30, 14, 12), 4), build.near((-66, -12, 26), 5)

    def shape(p: Points) -> Distance:
        return tube(p, (head, neck, body, tail), (14, 8.5, 9, 9)) + lobules(p)[0]

    splenic = partial(
        tube,
        path_mm=(
            (14.0, 12.0, 4.0),
            (-30.0, body[1] - 9, body[2] + 2),
            (tail[0] - 8, tail[1] - 8, tail[2] + 2),
        ),
        radii_mm=(5.0, 4.0, 3.5),
    )
    duodenum = partial(
        tube,
        path_mm=(
            build.near((56, 18, 0), 3),
            build.near((58, 0, -40), 3),
            build.near((10, -2, -56), 3),
        ),
        radii_mm=(11.0, 12.0, 10.0),
    )
    bounds = Bounds((-12, 6, 0), (90, 50, 60))
    return [
        Structure(duodenum, build.hu["wall"], bounds=Bounds((36, 4, -26), (50, 44, 60))),
        Structure(lambda p: duodenum(p) + 3, 18.0, bounds=Bounds((36, 4, -26), (50, 44, 60))),
        Structure(splenic, build.hu["portal"], bounds=bounds),
        Structure(shape, build.hu["pancreas"], PANCREAS, bounds),
    ]
