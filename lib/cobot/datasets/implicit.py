"""Shapes as signed distances in millimetres: below 0 inside, above 0 outside.

Every function takes points (3, ...) in patient millimetres, RAS, and returns (...). Distances are
exact for tubes and close to exact near the surface of ellipsoids, which is where they matter.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

Points = Float32[np.ndarray, "3 *grid"]
Distance = Float32[np.ndarray, "*grid"]
Vector = tuple[float, float, float]

TINY_MM = np.float32(1e-6)


def ellipsoid(
    points: Points,
    centre_mm: Vector,
    radii_mm: Vector,
    turn: Float[np.ndarray, "3 3"] | None = None,
) -> Distance:
    """Ellipsoid, optionally turned: the rows of `turn` are its axes in the patient."""
    local = points - _column(centre_mm, points.ndim)
    if turn is not None:
        local = np.tensordot(turn.astype(np.float32), local, axes=1)
    radii = _column(radii_mm, points.ndim)
    scaled = local / radii
    length = np.sqrt((scaled * scaled).sum(axis=0))
    scaled /= radii
    gradient = np.sqrt((scaled * scaled).sum(axis=0))
    return length * (length - 1) / np.maximum(gradient, TINY_MM)


def tube(points: Points, path_mm: tuple[Vector, ...], radii_mm: tuple[float, ...]) -> Distance:
    """Round tube through the points of a path, its radius changing evenly between them."""
    distance = np.full(points.shape[1:], np.inf, np.float32)
    ends = zip(path_mm[:-1], path_mm[1:], radii_mm[:-1], radii_mm[1:], strict=True)
    for start, end, start_radius, end_radius in ends:
        axis = np.subtract(end, start).astype(np.float32)
        local = points - _column(start, points.ndim)
        along = np.clip(np.tensordot(axis, local, axes=1) / float(axis @ axis), 0, 1)
        local -= axis.reshape(_shape(points.ndim)) * along
        radius = np.float32(start_radius) + along * np.float32(end_radius - start_radius)
        np.minimum(distance, np.sqrt((local * local).sum(axis=0)) - radius, out=distance)
    return distance


def oval(
    points: Points, centre_mm: tuple[float, float], radii_mm: tuple[float, float], power: float
) -> Distance:
    """Endless upright column with a superellipse as its cross-section, measured along the ray.

    `power` 2 is an ellipse; larger is more like a rectangle with round corners.
    """
    x = points[0] - np.float32(centre_mm[0])
    y = points[1] - np.float32(centre_mm[1])
    reach = (
        np.abs(x / np.float32(radii_mm[0])) ** power + np.abs(y / np.float32(radii_mm[1])) ** power
    )
    rho = np.maximum(reach, TINY_MM) ** np.float32(1 / power)
    return np.sqrt(x * x + y * y) * (1 - 1 / rho)


def merge(first: Distance, second: Distance, blend_mm: float) -> Distance:
    """Union of two shapes with a fillet of about `blend_mm` where they meet."""
    overlap = np.maximum(np.float32(blend_mm) - np.abs(first - second), 0) / np.float32(blend_mm)
    return np.minimum(first, second) - overlap * overlap * np.float32(blend_mm / 4)


def carve(shape: Distance, tool: Distance, blend_mm: float) -> Distance:
    """The first shape without the second, the new edge rounded."""
    return -merge(-shape, tool, blend_mm)


@dataclass(frozen=True, slots=True)
class Waves:
    """A smooth random field: a sum of plane sine waves.

    Attributes:
        wave_vectors: radians per millimetre.
        phases: radians.
        amplitudes: what each wave adds, one row per component of the field.
    """

    wave_vectors: Float32[np.ndarray, "waves 3"]
    phases: Float32[np.ndarray, " waves"]
    amplitudes: Float32[np.ndarray, "components waves"]

    def __call__(self, points: Points) -> Float32[np.ndarray, "components *grid"]:
        """The field at the points."""
        phase = np.tensordot(self.wave_vectors, points, axes=1)
        phase += self.phases.reshape((-1,) + (1,) * (points.ndim - 1))
        return np.tensordot(self.amplitudes, np.sin(phase, out=phase), axes=1)


def random_waves(
    rng: np.random.Generator, size: float, wavelengths_mm: tuple[float, float], components: int = 1
) -> Waves:
    """Four waves in random directions; `size` is about the field's standard deviation."""
    count = 4
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length_mm = np.exp(rng.uniform(*np.log(wavelengths_mm), size=(count, 1)))
    amplitude = rng.normal(size=(components, count)) * size * np.sqrt(2 / count)
    return Waves(
        wave_vectors=(direction * 2 * np.pi / length_mm).astype(np.float32),
        phases=rng.uniform(0, 2 * np.pi, count).astype(np.float32),
        amplitudes=amplitude.astype(np.float32),
    )


def turn_about(axis: int, degrees: float) -> Float[np.ndarray, "3 3"]:
    """Rotation about one patient axis (0 R, 1 A, 2 S)."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.eye(3)
    first, second = [other for other in range(3) if other != axis]
    turn[first, first] = turn[second, second] = cos
    turn[first, second], turn[second, first] = -sin, sin
    return turn


def _column(vector: Vector, ndim: int) -> Float32[np.ndarray, "3 *ones"]:
    return np.asarray(vector, np.float32).reshape(_shape(ndim))


def _shape(ndim: int) -> tuple[int, ...]:
    return (3,) + (1,) * (ndim - 1)
