"""Objects drawn into a picture: blobs of many shapes and greys, and organs in other greys.

A network that saw seven organs of one scanner knows those. Objects whose outline is exact, whatever
their shape, size and contrast, teach it to follow the edge of the thing it was asked for, in any
contrast; MR is the case in point. In the spirit of SynthSeg (Billot et al. 2023), on real pictures.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from scipy import ndimage

MOST_BLOBS = 3
SMALLEST_RADIUS, LARGEST_RADIUS = 0.02, 0.45
"""Of a blob's mean radius, as a fraction of the picture's longer side."""

EVENLY = 0.4
"""How often a radius is drawn evenly from that range, and not its logarithm: a liver fills much of
its slice, and logarithms give few such blobs."""

TEXTURED = 0.5
"""How often a blob has a pattern of its own."""

VEINED = 0.5
"""Of these, how many have veins: on MR the vessels of a dark liver are as bright as organs, and are
taken for what was asked by a network that never saw any."""

SMALLEST_SHARE = 0.3
"""Of a blob that must lie on the body and stay in one piece."""


@dataclass(frozen=True, slots=True)
class Pasted:
    """A picture with blobs.

    Attributes:
        unit: grey values, 0 to 1.
        blobs: 0 for none, 1, 2, ... for blobs; a later one covers an earlier one.
    """

    unit: Float32[np.ndarray, "row col"]
    blobs: UInt8[np.ndarray, "row col"]


def pasted_blobs(unit: Float32[np.ndarray, "row col"], rng: np.random.Generator) -> Pasted:
    """Draw one to three blobs on the body.

    Args:
        unit: picture, 0 to 1, black outside the body.
        rng: source of randomness.
    """
    body = unit > 0
    blobs = np.zeros(unit.shape, np.uint8)
    for number in range(1, 1 + int(rng.integers(1, MOST_BLOBS + 1))):
        shape = random_blob(body, rng)
        if shape.any():
            unit = _filled(unit, shape, rng)
            blobs[shape] = number
    return Pasted(unit, blobs)


def random_blob(
    body: Bool[np.ndarray, "row col"], rng: np.random.Generator
) -> Bool[np.ndarray, "row col"]:
    """One piece of an ellipse whose outline a smooth random field dents and swells.

    Empty where the body has no room for it.
    """
    places = np.flatnonzero(body)
    if not places.size:
        return np.zeros_like(body)
    middle = np.array(np.unravel_index(rng.choice(places), body.shape))
    radius = max(body.shape) * _random_radius(rng)
    stretch = np.exp(rng.uniform(-0.5, 0.5))
    offset = np.moveaxis(np.indices(body.shape), 0, -1) - middle
    turned = offset @ _turn(rng.uniform(0, np.pi)) / [radius * stretch, radius / stretch]
    whole = (turned**2).sum(-1) < 1 + rng.uniform(0, 1.2) * _smooth_field(body.shape, radius, rng)
    return _main_piece(whole & body, int(whole.sum()))


def recoloured(
    unit: Float32[np.ndarray, "row col"],
    objects: UInt8[np.ndarray, "row col"],
    rng: np.random.Generator,
) -> Float32[np.ndarray, "row col"]:
    """Make each object of a layer brighter or darker by an amount of its own.

    Args:
        unit: picture, 0 to 1, black outside the body.
        objects: 0 for none, 1 to 255 for objects.
        rng: source of randomness.
    """
    change = rng.normal(0, 0.2, 256) * (rng.random(256) < 0.6)
    change[0] = 0
    soft = ndimage.gaussian_filter(change[objects], rng.uniform(0.3, 1.0))
    return np.where(unit > 0, np.clip(unit + soft, 0.01, 1), 0).astype(np.float32)


def _filled(
    unit: Float32[np.ndarray, "row col"],
    shape: Bool[np.ndarray, "row col"],
    rng: np.random.Generator,
) -> Float32[np.ndarray, "row col"]:
    """Fill a shape with another grey; some of what was there shines through, the edge is soft."""
    mean = float(unit[shape].mean())
    contrast = rng.uniform(0.04, 0.45) * rng.choice([-1, 1])
    grey = np.clip(mean + contrast, 0.02, 1)
    inside = grey + rng.uniform(0, 0.8) * (unit - mean)
    if rng.random() < TEXTURED:
        inside = inside + _pattern(unit.shape, rng)
    weight = ndimage.gaussian_filter(shape.astype(np.float32), rng.uniform(0.3, 1.2))
    mixed = unit + weight * (inside - unit)
    return np.where(unit > 0, np.clip(mixed, 0.01, 1), 0).astype(np.float32)


def _pattern(shape: tuple[int, ...], rng: np.random.Generator) -> Float[np.ndarray, "row col"]:
    """What a blob's grey varies by: grains, or the thin lines where a smooth field is near zero."""
    grain_px = max(shape) * rng.uniform(0.01, 0.06)
    field = _smooth_field(shape, grain_px, rng)
    if rng.random() < VEINED:
        return rng.uniform(0.1, 0.6) * rng.choice([-1, 1]) * np.exp(-((field / 0.25) ** 2))
    return rng.uniform(0.02, 0.12) * field


def _random_radius(rng: np.random.Generator) -> float:
    """A blob's mean radius, as a fraction of the picture's longer side."""
    if rng.random() < EVENLY:
        return float(rng.uniform(SMALLEST_RADIUS, LARGEST_RADIUS))
    return float(np.exp(rng.uniform(np.log(SMALLEST_RADIUS), np.log(LARGEST_RADIUS))))


def _main_piece(found: Bool[np.ndarray, "row col"], wanted_px: int) -> Bool[np.ndarray, "row col"]:
    """The largest connected piece; nothing where too little of the blob is left."""
    pieces, count = ndimage.label(found)
    if count == 0:
        return found
    area = np.bincount(pieces.ravel())[1:]
    if area.max() < SMALLEST_SHARE * wanted_px:
        return np.zeros_like(found)
    return np.asarray(pieces == 1 + int(area.argmax()))


def _turn(angle: float) -> Float[np.ndarray, "2 2"]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _smooth_field(
    shape: tuple[int, ...], radius_px: float, rng: np.random.Generator
) -> Float[np.ndarray, "row col"]:
    """Normal noise, smooth at the scale of an object of that radius."""
    knots = [max(2, int(size / (radius_px * rng.uniform(0.4, 1.2))) + 1) for size in shape]
    knots = [min(count, size) for count, size in zip(knots, shape, strict=True)]
    zoom = [size / count for size, count in zip(shape, knots, strict=True)]
    field: np.ndarray = ndimage.zoom(
        rng.normal(0, 1, knots), zoom, order=1, mode="nearest", grid_mode=True
    )
    return field
