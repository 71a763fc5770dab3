"""How much a model changes its mind when its box is moved a little."""

import numpy as np
from jaxtyping import Bool


def mean_pairwise_dice(masks: Bool[np.ndarray, "n row col"]) -> float:
    """The mean Dice over all pairs of masks; two empty masks agree entirely.

    Args:
        masks: answers to the same question, two or more.
    """
    if len(masks) < 2:
        raise ValueError(f"Agreement needs two masks or more, got {len(masks)}.")
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    area = flat.sum(axis=1, dtype=np.float64)
    shared = (flat @ flat.T).astype(np.float64)
    both = area[:, None] + area[None, :]
    dice = np.divide(2 * shared, both, out=np.ones_like(both), where=both > 0)
    first, second = np.triu_indices(len(masks), 1)
    return float(dice[first, second].mean())


def disagreement(masks: Bool[np.ndarray, "n row col"]) -> float:
    """1 - mean pairwise Dice: 0 where all masks are the same, 1 where none share a pixel."""
    return 1.0 - mean_pairwise_dice(masks)


def binary_entropy(probability: float) -> float:
    """Of "is it there": 0 bits where that is certain either way, 1 bit at one half."""
    if not 0 < probability < 1:
        return 0.0
    parts = np.array([probability, 1 - probability])
    return float(-(parts * np.log2(parts)).sum())
