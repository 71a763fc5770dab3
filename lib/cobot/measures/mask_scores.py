"""One structure of one case: overlap, distance of surfaces, and volume."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from jaxtyping import Bool
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.meandice import compute_dice
from monai.metrics.surface_dice import compute_surface_dice

from cobot.geometry import spacing_mm
from cobot.shapes import Affine

MM3_PER_ML = 1000.0
HAUSDORFF_PERCENTILE = 95.0


class Presence(Enum):
    """Who holds the structure; only where both do is there a surface to compare."""

    BOTH = "both"
    NEITHER = "neither"
    ONLY_PREDICTION = "only_prediction"
    ONLY_TRUTH = "only_truth"


@dataclass(frozen=True, slots=True)
class MaskScores:
    """How a structure was found in one case.

    What cannot be measured is stated: where neither holds the structure, Dice, surface Dice, HD95
    and errors of the volume are None, and means leave the case out; where only one does, both Dice
    are 0 and HD95 is the grid's diagonal, the largest distance that two of its voxels can have.

    Attributes:
        presence: who holds it.
        dice: 2 |A and B| / (|A| + |B|).
        surface_dice: share of both surfaces, by area, that lies within the tolerance of the other.
        hd95_mm: the larger of the two directed 95th percentiles of surface distances.
        prediction_ml: predicted volume.
        truth_ml: true volume.
    """

    presence: Presence
    dice: float | None
    surface_dice: float | None
    hd95_mm: float | None
    prediction_ml: float
    truth_ml: float

    @property
    def volume_error_ml(self) -> float | None:
        """Predicted minus true volume: positive where too much was found; None without either."""
        return None if self.presence is Presence.NEITHER else self.prediction_ml - self.truth_ml

    @property
    def absolute_volume_error_ml(self) -> float | None:
        """The same without its sign."""
        error = self.volume_error_ml
        return None if error is None else abs(error)

    @property
    def volume_error_percent(self) -> float | None:
        """The error in per cent of the true volume; None without one."""
        error = self.volume_error_ml
        return 100 * error / self.truth_ml if error is not None and self.truth_ml else None


def score_masks(
    prediction: Bool[np.ndarray, "i j k"],
    truth: Bool[np.ndarray, "i j k"],
    affine: Affine,
    tolerance_mm: float,
) -> MaskScores:
    """Measure one structure.

    Surfaces are MONAI's: for surface Dice pieces of area between voxels, as DeepMind's
    surface-distance has them; for HD95 the voxels at the edge. A grid is taken for rectangular.

    Args:
        prediction: its voxels as found.
        truth: its voxels as they are.
        affine: of the grid of both.
        tolerance_mm: distance up to which two surfaces count as one.
    """
    voxel_ml = float(abs(np.linalg.det(affine[:3, :3]))) / MM3_PER_ML
    volumes = int(prediction.sum()) * voxel_ml, int(truth.sum()) * voxel_ml
    presence = _presence(*volumes)
    if presence is Presence.NEITHER:
        return MaskScores(presence, None, None, None, *volumes)
    spacing = spacing_mm(affine)
    if presence is not Presence.BOTH:
        diagonal_mm = float(np.linalg.norm((np.array(truth.shape) - 1) * spacing))
        return MaskScores(presence, 0.0, 0.0, diagonal_mm, *volumes)
    found, true = (_batch(mask) for mask in _cropped(prediction, truth))
    steps = spacing.tolist()
    with _quiet_monai():
        dice = compute_dice(found, true)
        surface = compute_surface_dice(
            found, true, [tolerance_mm], include_background=True, spacing=steps, use_subvoxels=True
        )
        hausdorff = compute_hausdorff_distance(
            found, true, include_background=True, percentile=HAUSDORFF_PERCENTILE, spacing=steps
        )
    return MaskScores(presence, dice.item(), surface.item(), hausdorff.item(), *volumes)


def _presence(prediction_ml: float, truth_ml: float) -> Presence:
    if prediction_ml and truth_ml:
        return Presence.BOTH
    if not prediction_ml and not truth_ml:
        return Presence.NEITHER
    return Presence.ONLY_PREDICTION if prediction_ml else Presence.ONLY_TRUTH


def _cropped(
    one: Bool[np.ndarray, "i j k"], other: Bool[np.ndarray, "i j k"]
) -> tuple[Bool[np.ndarray, "a b c"], Bool[np.ndarray, "a b c"]]:
    """Both, cut to the box that holds them: what is measured does not depend on the rest."""
    either = one | other
    box = []
    for axis in range(3):
        held = np.flatnonzero(either.any(axis=tuple({0, 1, 2} - {axis})))
        box.append(slice(held[0], held[-1] + 1))
    return one[tuple(box)], other[tuple(box)]


def _batch(mask: Bool[np.ndarray, "a b c"]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask))[None, None]


@contextmanager
def _quiet_monai() -> Iterator[None]:
    """MONAI 1.6 warns of its own call to an argument that it will drop."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*always_return_as_numpy.*")
        yield
