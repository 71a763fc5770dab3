"""A patient made of shapes, and how it is scanned onto any grid of voxels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8
from scipy.ndimage import gaussian_filter

from cobot.datasets.implicit import Distance, Number, Points, Vector, Waves
from cobot.geometry import spacing_mm
from cobot.shapes import Affine
from cobot.volume import LabelMap, Volume

Shape = Callable[[Points], Distance]
"""Points to signed distance."""

Texture = Callable[[Points, Distance], Float32[np.ndarray, "*grid"]]
"""Points and their distance to the structure's surface, to HU."""

AIR_HU = -1000.0
WARP_REACH_MM = 16.0
"""How far a warp may move a point; shapes are looked for that far outside their bounds."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A box that holds a shape, so that the rest of the grid need not look at it."""

    centre_mm: Vector
    reach_mm: Vector


@dataclass(frozen=True, slots=True)
class Structure:
    """One thing in the patient; painted over everything before it.

    Attributes:
        distance: signed distance to its surface.
        hu: its value, or a function of points and distance for textures and layers.
        label: its value in the truth; 0 for what is not a structure of interest.
        bounds: where it can be, or None for everywhere.
    """

    distance: Shape
    hu: Number | Texture
    label: int = 0
    bounds: Bounds | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """A patient: structures in painting order, bent by one smooth warp.

    Attributes:
        structures: later ones cover earlier ones.
        warp: displacement in mm, three components.
        labels: value to name of what the truth knows.
        noise_hu: standard deviation of the scanner's noise at 1 mm blur.
        noise_seed: seed of that noise.
    """

    structures: tuple[Structure, ...]
    warp: Waves
    labels: Mapping[int, str]
    noise_hu: float
    noise_seed: int


@dataclass(frozen=True, slots=True)
class Phantom:
    """An image made from formulas and the truth about it, on one grid."""

    volume: Volume
    truth: LabelMap


def layer(distance: Distance, outer_hu: Number, inner_hu: Number) -> Distance:
    """One value outside a surface and another inside, blended over a millimetre."""
    inside = np.clip(0.5 - distance, 0, 1)
    return (outer_hu + inside * (inner_hu - outer_hu)).astype(np.float32)


def scan(scene: Scene, affine: Affine, shape: tuple[int, int, int], sub_slices: int = 3) -> Phantom:
    """Scan a patient onto a grid, as rounded HU (int16), with its truth (uint8).

    A voxel's value is the mean over `sub_slices` (odd) layers across k, so thick slices blur what
    is oblique to them; in the slice, edges are one voxel wide. The truth is that of the middle
    layer: a voxel belongs to the structure at its centre.
    """
    total = np.zeros(shape, np.float32)
    labels = np.zeros(shape, np.uint8)
    for layer in range(sub_slices):
        shift = (layer - sub_slices // 2) / sub_slices
        shifted = affine.copy()
        shifted[:3, 3] += affine[:3, 2] * shift
        values, found = _paint(scene, shifted, shape)
        total += values
        if layer == sub_slices // 2:
            labels = found
    total /= sub_slices
    total += _scanner_noise(scene, affine, shape)
    voxels = np.clip(np.rint(total), -1024, 3071).astype(np.int16)
    return Phantom(Volume(voxels, affine), LabelMap(labels, affine, dict(scene.labels)))


def _paint(
    scene: Scene, affine: Affine, shape: tuple[int, int, int]
) -> tuple[Float32[np.ndarray, "i j k"], UInt8[np.ndarray, "i j k"]]:
    points = _voxel_centres(affine, shape)
    points += scene.warp(points)
    inverse = np.linalg.inv(affine)
    edge_mm = np.float32(spacing_mm(affine)[:2].max())
    values = np.full(shape, AIR_HU, np.float32)
    labels = np.zeros(shape, np.uint8)
    for structure in scene.structures:
        region = _region(structure.bounds, inverse, shape)
        if region is None:
            continue
        across_i, across_j, across_k = region
        here = points[:, across_i, across_j, across_k]
        distance = structure.distance(here)
        coverage = np.clip(0.5 - distance / edge_mm, 0, 1)
        hu = (
            structure.hu if isinstance(structure.hu, (float, int)) else structure.hu(here, distance)
        )
        values[region] += coverage * (hu - values[region])
        labels[region][distance < 0] = structure.label
    return values, labels


def _voxel_centres(affine: Affine, shape: tuple[int, int, int]) -> Points:
    steps = affine.astype(np.float32)
    i, j, k = np.ogrid[: shape[0], : shape[1], : shape[2]]
    return np.stack(
        [steps[r, 0] * i + steps[r, 1] * j + steps[r, 2] * k + steps[r, 3] for r in range(3)]
    ).astype(np.float32)


def _region(
    bounds: Bounds | None, inverse: Affine, shape: tuple[int, int, int]
) -> tuple[slice, slice, slice] | None:
    """The part of the grid a bounding box touches, or None."""
    if bounds is None:
        return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
    centre = inverse[:3, :3] @ np.array(bounds.centre_mm) + inverse[:3, 3]
    reach = np.abs(inverse[:3, :3]) @ (np.array(bounds.reach_mm) + WARP_REACH_MM)
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach) + 1, shape).astype(int)
    if (low >= high).any():
        return None
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def _scanner_noise(
    scene: Scene, affine: Float[np.ndarray, "4 4"], shape: tuple[int, int, int]
) -> Float32[np.ndarray, "i j k"]:
    """Noise with the short correlation in the slice that a reconstruction kernel leaves."""
    rng = np.random.default_rng(scene.noise_seed)
    white = rng.standard_normal(shape, dtype=np.float32)
    blur_voxels = 0.9 / np.maximum(spacing_mm(affine)[:2], 0.5)
    soft = gaussian_filter(white, (*blur_voxels, 0), truncate=3)
    soft *= np.float32(1 / max(float(soft.std()), 1e-6))
    mixed: Float32[np.ndarray, "i j k"] = soft * np.float32(scene.noise_hu)
    return mixed + white * np.float32(scene.noise_hu * 0.25)
