"""A slice as another patient or scanner might have given it: turned, stretched, recoloured."""

import numpy as np
from jaxtyping import Float32, Integer
from scipy import ndimage

LARGEST_TURN_RAD = 0.2
STRETCH = 0.12
GAMMA = 0.35


def varied(
    unit: Float32[np.ndarray, "row col"],
    labels: Integer[np.ndarray, "row col"],
    rng: np.random.Generator,
) -> tuple[Float32[np.ndarray, "row col"], Integer[np.ndarray, "row col"]]:
    """Another picture and its labels, on the same pixels; never mirrored: sides have names.

    Args:
        unit: the slice, windowed to 0..1.
        labels: its label values.
        rng: source of randomness.
    """
    angle = rng.uniform(-LARGEST_TURN_RAD, LARGEST_TURN_RAD)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag(np.exp(rng.uniform(-STRETCH, STRETCH, 2)))
    middle = (np.array(unit.shape) - 1) / 2
    offset = middle - matrix @ middle
    picture = ndimage.affine_transform(unit, matrix, offset, order=1)
    moved = ndimage.affine_transform(labels, matrix, offset, order=0)
    picture = np.clip(picture, 0, 1) ** np.exp(rng.uniform(-GAMMA, GAMMA))
    if rng.random() < 0.5:
        noise = rng.normal(0, rng.uniform(0.005, 0.03), picture.shape)
        picture = np.where(picture > 0, picture + noise, 0)
    return np.clip(picture, 0, 1).astype(np.float32), moved
