"""Volumes that deserve a look: outside what adults have, or unlike the rest of the batch."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from cobot.datasets.plain_names import plain_name

ADULT_ML: Mapping[str, tuple[float, float]] = {
    "liver": (600.0, 3500.0),
    "spleen": (40.0, 1200.0),
    "pancreas": (20.0, 200.0),
    "right kidney": (50.0, 400.0),
    "left kidney": (50.0, 400.0),
    "kidneys": (100.0, 800.0),
    "brainstem": (10.0, 50.0),
    "right parotid": (6.0, 80.0),
    "left parotid": (6.0, 80.0),
    "mandible": (25.0, 140.0),
}
"""Adult volumes in mL, ours and wide on purpose: about half of a small organ to twice a large one.
Outside is worth a look, not wrong: organs are cut off by the field of view, enlarged, or operated
on. Structures whose length in the image is chance (aorta, spine, oesophagus) have none."""

LEAST_CASES = 8
"""A batch with fewer volumes of a structure has no outliers."""

OUTLIER_Z = 3.5
"""Robust z-score of the logarithm of a volume (Iglewicz and Hoaglin's limit)."""

LEAST_SPREAD = 0.05
"""Of a logarithm: five per cent either way is no outlier, however alike the rest are."""

MAD_TO_SD = 1.4826


def implausible(label: str, volume_ml: float) -> str | None:
    """Why a volume is not an adult's; None if it may be, or nothing is known of the structure.

    >>> implausible("Spleen", 12.0)
    'spleen has 12.0 mL; adults have 40 to 1200'
    """
    known = ADULT_ML.get(plain_name(label))
    if known is None or known[0] <= volume_ml <= known[1]:
        return None
    return f"{plain_name(label)} has {volume_ml:.1f} mL; adults have {known[0]:g} to {known[1]:g}"


class BatchVolumes:
    """What the other cases of a batch have; built once from all of them."""

    def __init__(self, volumes_ml: Sequence[Mapping[str, float]]) -> None:
        """Take the volumes of every case, by label; those of nothing found do not count."""
        known: dict[str, list[float]] = defaultdict(list)
        for case in volumes_ml:
            for label, volume_ml in case.items():
                if volume_ml > 0:
                    known[label].append(float(np.log(volume_ml)))
        self._typical: dict[str, tuple[float, float]] = {}
        for label, logs in known.items():
            if len(logs) >= LEAST_CASES:
                middle = float(np.median(logs))
                spread = MAD_TO_SD * float(np.median(np.abs(np.array(logs) - middle)))
                self._typical[label] = (middle, max(spread, LEAST_SPREAD))

    def outlier(self, label: str, volume_ml: float) -> str | None:
        """Why a volume is unlike the others of its label; None if it is not."""
        if label not in self._typical or volume_ml <= 0:
            return None
        middle, spread = self._typical[label]
        if abs(np.log(volume_ml) - middle) <= OUTLIER_Z * spread:
            return None
        return f"{label} has {volume_ml:.1f} mL; the median of this batch is {np.exp(middle):.1f}"
