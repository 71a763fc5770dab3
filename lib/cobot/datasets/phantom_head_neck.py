"""A phantom head-and-neck CT made from formulas, with the organs a planning CT is contoured for."""

from collections.abc import Mapping

import numpy as np

from cobot.datasets.head_neck_build import HeadBuild, body_outline, random_head
from cobot.datasets.head_neck_head import head
from cobot.datasets.head_neck_neck import neck
from cobot.datasets.implicit import Distance, Points, random_waves, turn_about
from cobot.datasets.scan_grids import LPS, Picture, centred_grid, scan_random_plane
from cobot.datasets.scene import Phantom, Scene, Structure, layer, scan

HEAD_NECK_LABELS: Mapping[int, str] = {
    1: "brainstem",
    2: "spinal cord",
    3: "right parotid",
    4: "left parotid",
    5: "esophagus",
    6: "larynx",
    7: "mandible",
    8: "right eye",
    9: "left eye",
    10: "brain",
}
"""What the truth knows; 1 to 7 are numbered as in OpenKBP's contours."""


def head_neck_phantom(
    seed: int,
    shape: tuple[int, int, int] = (144, 144, 72),
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 3.5),
    oblique_degrees: float = 4.0,
) -> Phantom:
    """One random head and neck on an oblique, anisotropic LPS grid, from vertex to thorax.

    Args:
        seed: which patient; everything follows from it.
        shape: voxels along i (to the left), j (to the back), k (to the head).
        spacing_mm: distance between voxel centres along i, j, k.
        oblique_degrees: tilt of the slices against the patient about left-right.

    Returns:
        Image in HU (int16) and truth (uint8, `HEAD_NECK_LABELS`), on the same grid.
    """
    scene = head_neck_scene(np.random.default_rng(seed))
    affine = centred_grid(turn_about(0, oblique_degrees) @ LPS, shape, spacing_mm)
    return scan(scene, affine, shape)


def head_neck_scene(rng: np.random.Generator) -> Scene:
    """A random patient, not yet scanned."""
    build = random_head(rng)
    return Scene(
        structures=(_skin(build), *head(build), *neck(build)),
        warp=random_waves(rng, 2.0, (90, 260), components=3),
        labels=HEAD_NECK_LABELS,
        noise_hu=float(rng.uniform(5, 12)),
        noise_seed=int(rng.integers(2**32)),
    )


def random_head_neck_slice(rng: np.random.Generator, side_px: int = 256) -> Picture:
    """One random plane of a random patient, as HU and labels; much cheaper than a volume."""
    return scan_random_plane(head_neck_scene(rng), rng, side_px, (220, 380), (-120, 100))


def _skin(build: HeadBuild) -> Structure:
    def body_hu(_: Points, distance: Distance) -> Distance:
        return layer(distance + 2, 20, -95)

    return Structure(lambda p: body_outline(build, p), body_hu)
