"""How different cases look to the encoder: one vector a volume, and the farthest one first."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32


def volume_vector(slices: Sequence[Float32[np.ndarray, " c"]]) -> Float32[np.ndarray, " c2"]:
    """Mean and standard deviation, over slices, of the slices' pooled embeddings.

    Args:
        slices: of each slice the mean over the places of its embedding.
    """
    table = np.stack(slices)
    return np.concatenate([table.mean(axis=0), table.std(axis=0)]).astype(np.float32)


def distances(
    points: Float[np.ndarray, "n c"], centres: Float[np.ndarray, "m c"]
) -> Float[np.ndarray, "n m"]:
    """Euclidean, of each point to each centre."""
    squares = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)[None, :]
    return np.sqrt(np.maximum(squares - 2 * points @ centres.T, 0))


def novelty(
    points: Float[np.ndarray, "n c"], covered: Float[np.ndarray, "m c"]
) -> Float[np.ndarray, " n"]:
    """How much a point would add: its distance to the nearest one that is covered.

    Where nothing is covered yet, the typical point comes first: minus the distance to the mean.
    """
    precise = points.astype(np.float64)
    if len(covered) == 0:
        return -np.linalg.norm(precise - precise.mean(axis=0), axis=1)
    return distances(precise, covered.astype(np.float64)).min(axis=1)


def k_center(
    points: Float[np.ndarray, "n c"], covered: Float[np.ndarray, "m c"], count: int
) -> list[int]:
    """Greedy k-center: each time the point farthest from all that are covered or taken.

    Of equal points the first is taken.

    Args:
        points: to take from.
        covered: known already.
        count: how many to take, at most.
    """
    taken: list[int] = []
    known = covered
    for _ in range(min(count, len(points))):
        value = novelty(points, known)
        value[taken] = -np.inf
        taken.append(int(np.argmax(value)))
        known = np.concatenate([known, points[taken[-1:]]])
    return taken
