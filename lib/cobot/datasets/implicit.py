"""Shapes as signed distances in millimetres: below 0 inside, above 0 outside.

Every function takes points (3, ...) in patient millimetres, RAS, and returns (...). Distances are
exact for tubes and close to exact near the surface of ellipsoids, which is where they matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

Points = Float32[np.ndarray, "3 *grid"]
Distance = Float32[np.ndarray, "*grid"]
Number = float | int
"""A whole number is a length too: shapes below are written with both."""

Vector = tuple[Number, Number, Number]
Pair = tuple[Number, Number]

TINY = np.float32(1e-6)


def ellipsoid(
    points: Points,
    centre_mm: Vector,
    radii_mm: Vector,
    turn: Float[np.ndarray, "3 3"] | None = None,
) -> Distance:
    """Ellipsoid, optionally turned: the rows of `turn` are its axes in the patient."""
    local = [points[axis] - np.float32(centre_mm[axis]) for axis in range(3)]
    if turn is not None:
        local = [_dot(row, local) for row in turn]
    scaled = [offset / np.float32(radius) for offset, radius in zip(local, radii_mm, strict=True)]
    length = _norm(scaled)
    steepness = _norm([part / np.float32(r) for part, r in zip(scaled, radii_mm, strict=True)])
    distance: Distance = length * (length - 1) / np.maximum(steepness, TINY)
    return distance


def tube(points: Points, path_mm: tuple[Vector, ...], radii_mm: tuple[Number, ...]) -> Distance:
    """Round tube through the points of a path, its radius changing evenly between them."""
    distance = np.full(points.shape[1:], np.inf, np.float32)
    ends = zip(path_mm[:-1], path_mm[1:], radii_mm[:-1], radii_mm[1:], strict=True)
    for start, end, start_radius, end_radius in ends:
        axis = np.subtract(end, start)
        local = [points[r] - np.float32(start[r]) for r in range(3)]
        along = np.clip(_dot(axis / (axis @ axis), local), 0, 1)
        away = _norm([local[r] - np.float32(axis[r]) * along for r in range(3)])
        radius = along * np.float32(end_radius - start_radius) + np.float32(start_radius)
        np.minimum(distance, away - radius, out=distance)
    return distance


def oval(
    points: Points,
    centre_mm: Pair,
    radii_mm: Pair,
    squareness: Number = 0,
) -> Distance:
    """Endless upright column, measured along the ray from its axis.

    Its cross-section is an ellipse at `squareness` 0 and a rounded rectangle (|x|^4 + |y|^4 = 1)
    at 1.
    """
    x = points[0] - np.float32(centre_mm[0])
    y = points[1] - np.float32(centre_mm[1])
    u = np.square(x / np.float32(radii_mm[0]))
    v = np.square(y / np.float32(radii_mm[1]))
    rho = np.sqrt(u + v)
    if squareness:
        rho += np.float32(squareness) * (np.sqrt(np.sqrt(u * u + v * v)) - rho)
    distance: Distance = np.sqrt(x * x + y * y) * (1 - 1 / np.maximum(rho, TINY))
    return distance


def merge(first: Distance, second: Distance, blend_mm: Number) -> Distance:
    """Union of two shapes with a fillet of about `blend_mm` where they meet."""
    overlap = np.maximum(np.float32(blend_mm) - np.abs(first - second), 0) / np.float32(blend_mm)
    return np.minimum(first, second) - overlap * overlap * np.float32(blend_mm / 4)


def carve(shape: Distance, tool: Distance, blend_mm: Number) -> Distance:
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
        field = np.zeros((len(self.amplitudes), *points.shape[1:]), np.float32)
        for vector, phase, amplitude in zip(
            self.wave_vectors, self.phases, self.amplitudes.T, strict=True
        ):
            wave = np.sin(_dot(vector, points) + phase)
            for component, size in zip(field, amplitude, strict=True):
                component += size * wave
        return field


def random_waves(
    rng: np.random.Generator, size: Number, wavelengths_mm: Pair, components: int = 1
) -> Waves:
    """Four waves in random directions; `size` is about the field's standard deviation."""
    count = 4
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length_mm = np.exp(
        rng.uniform(np.log(wavelengths_mm[0]), np.log(wavelengths_mm[1]), (count, 1))
    )
    amplitude = rng.normal(size=(components, count)) * size * np.sqrt(2 / count)
    return Waves(
        wave_vectors=(direction * 2 * np.pi / length_mm).astype(np.float32),
        phases=rng.uniform(0, 2 * np.pi, count).astype(np.float32),
        amplitudes=amplitude.astype(np.float32),
    )


def turn_about(axis: int, degrees: Number) -> Float[np.ndarray, "3 3"]:
    """Rotation about one patient axis (0 R, 1 A, 2 S)."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.eye(3)
    first, second = [other for other in range(3) if other != axis]
    turn[first, first] = turn[second, second] = cos
    turn[first, second], turn[second, first] = -sin, sin
    return turn


def _dot(vector: Float[np.ndarray, " 3"], points: Points | Sequence[Distance]) -> Distance:
    """One direction times every point; three fused passes beat a matrix product this thin."""
    x, y, z = (np.float32(part) for part in vector)
    return x * points[0] + y * points[1] + z * points[2]


def _norm(parts: list[Distance]) -> Distance:
    return np.sqrt(parts[0] * parts[0] + parts[1] * parts[1] + parts[2] * parts[2])
