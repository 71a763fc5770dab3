"""A volume is an array and the affine that places it in the patient."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from cobot.errors import GridMismatchError
from cobot.geometry import check_affine, patient_axes, ras_from_ijk, spacing_mm
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

    def require_same_grid(self, other: "Volume | LabelMap") -> None:
        """Refuse a map that was not drawn on the other's voxels, in their order.

        Raises:
            GridMismatchError: shape or affine differ (by more than a micrometre of rounding).
        """
        if not self._has_grid_of(other):
            raise GridMismatchError(
                f"The label map is not on the image's grid ({grid_difference(self, other)}); "
                "export it again on the image's geometry."
            )

    def on_grid_of(self, other: "Volume | LabelMap") -> "LabelMap":
        """The same map, its axes in the order and direction of another's.

        Programs store one grid in several ways: dcm2niix, for one, turns a series' rows round.
        Nothing is resampled.

        Raises:
            GridMismatchError: its voxels do not lie where the other's do.
        """
        turned = self if self._has_grid_of(other) else self.turned_onto(other.affine)
        turned.require_same_grid(other)
        return turned

    def turned_onto(self, affine: Affine) -> "LabelMap":
        """The same map, its axes in the order and direction of an affine's; a view, no copy."""
        own = {ras: (axis, sign) for axis, (ras, sign) in enumerate(patient_axes(self.affine))}
        wanted = patient_axes(affine)
        order = [own[ras][0] for ras, _ in wanted]
        steps = [sign * own[ras][1] for ras, sign in wanted]
        turned = self.voxels.transpose(order)[tuple(slice(None, None, step) for step in steps)]
        to_own = np.zeros((4, 4))
        to_own[order, range(3)] = steps
        to_own[order, 3] = [
            0 if step > 0 else size - 1 for step, size in zip(steps, turned.shape, strict=True)
        ]
        to_own[3, 3] = 1
        return replace(self, voxels=turned, affine=self.affine @ to_own)

    def _has_grid_of(self, other: "Volume | LabelMap") -> bool:
        return self.voxels.shape == other.voxels.shape and np.allclose(
            self.affine, other.affine, rtol=0, atol=1e-3
        )


def corners_apart_mm(one: Volume | LabelMap, other: Volume | LabelMap) -> float:
    """The largest distance between like corners of two grids of one shape."""
    last = np.array(one.voxels.shape) - 1
    corners = np.stack(np.meshgrid(*((0, end) for end in last), indexing="ij"), axis=-1)
    ijk = corners.reshape(-1, 3)
    apart = ras_from_ijk(one.affine, ijk) - ras_from_ijk(other.affine, ijk)
    return float(np.linalg.norm(apart, axis=1).max())


def grid_difference(one: Volume | LabelMap, other: Volume | LabelMap) -> str:
    """What tells two grids apart, in words for a message."""
    if one.voxels.shape != other.voxels.shape:
        return f"{one.voxels.shape} voxels against {other.voxels.shape}"
    return (
        f"equal shapes {one.voxels.shape}, spacing {_spacing(one)} against {_spacing(other)} mm, "
        f"corners up to {corners_apart_mm(one, other):.3g} mm apart"
    )


def _spacing(grid: Volume | LabelMap) -> str:
    return " x ".join(f"{step:.4g}" for step in spacing_mm(grid.affine))
