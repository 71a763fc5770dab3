"""How well masks agree."""

import numpy as np
from jaxtyping import Bool


def dice(prediction: Bool[np.ndarray, "*shape"], truth: Bool[np.ndarray, "*shape"]) -> float:
    """Dice coefficient 2 |A and B| / (|A| + |B|): 1 for equal masks, 0 for disjoint ones.

    Two empty masks give NaN: there was nothing to find, and a mean should say so.

    >>> dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    total = int(prediction.sum()) + int(truth.sum())
    return 2 * int((prediction & truth).sum()) / total if total else float("nan")
