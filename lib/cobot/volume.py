"""A volume is an array and the affine that places it in the patient."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from cobot.errors import GridMismatchError
from cobot.geometry import check_affine, spacing_mm
from cobot.shapes import Affine, LabelVoxels, Voxels

LARGEST_LABEL = 65535
"""What uint16 holds, the widest type that label files use."""


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """Voxels and their place in the patient.

    Attributes:
        voxels: intensities in the order they are stored; Hounsfield units for CT.
        affine: voxel index to RAS+ millimetres.
    """

    voxels: Voxels
    affine: Affine

    def __post_init__(self) -> None:
        object.__setattr__(self, "affine", check_affine(self.affine))
        if self.voxels.ndim != 3 or 0 in self.voxels.shape:
            raise GridMismatchError(
                f"A volume needs three non-empty axes, got shape {self.voxels.shape}; "
                "pick one frame or channel of a 4D image first."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along i, j, k."""
        i, j, k = self.voxels.shape
        return i, j, k

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along i, j, k."""
        i, j, k = spacing_mm(self.affine).tolist()
        return i, j, k

    def with_voxels(self, voxels: Voxels) -> "Volume":
        """Return other voxels in the same place."""
        if voxels.shape != self.voxels.shape:
            raise GridMismatchError(
                f"voxels must keep shape {self.voxels.shape}, got {voxels.shape}."
            )
        return replace(self, voxels=voxels)


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """Which structure each voxel belongs to, on the grid of the image it was drawn on.

    Attributes:
        voxels: 0 is background, every other value is a key of `labels`.
        affine: voxel index to RAS+ millimetres.
        labels: value to name, without background.
    """

    voxels: LabelVoxels
    affine: Affine
    labels: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "affine", check_affine(self.affine))
        wrong = [value for value in self.labels if not 1 <= value <= LARGEST_LABEL]
        if wrong:
            raise GridMismatchError(
                f"Label values {wrong} cannot be stored; expected 1 to {LARGEST_LABEL} "
                "(0 is background). Renumber the labels."
            )

    def mask(self, name: str) -> np.ndarray:
        """The voxels of one structure, as booleans (i j k).

        Raises:
            GridMismatchError: no structure has that name.
        """
        values = [value for value, label in self.labels.items() if label == name]
        if not values:
            raise GridMismatchError(
                f"No label is called {name!r}; this map has {sorted(self.labels.values())}."
            )
        return np.isin(self.voxels, values)

    def require_same_grid(self, volume: Volume) -> None:
        """Refuse a map that was not drawn on the volume's voxels.

        Raises:
            GridMismatchError: shape or affine differ (by more than a micrometre of rounding).
        """
        if self.voxels.shape != volume.shape or not np.allclose(
            self.affine, volume.affine, rtol=0, atol=1e-3
        ):
            raise GridMismatchError(
                f"The label map ({self.voxels.shape}) is not on the image's grid "
                f"({volume.shape}, same affine expected); export it again on the image's geometry."
            )
