"""From slice headers to one grid: sorted slices and an affine, or the reason why there is none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from cobot.errors import ImageReadError
from cobot.io.dicom_headers import SliceHeader
from cobot.shapes import Affine

ORIENTATION_ATOL = 1e-3
"""Direction cosines of one series may differ by rounding (three decimals)."""

PIXEL_SPACING_RTOL = 1e-3
"""Pixel spacings of one series may differ by rounding."""

DUPLICATE_MM = 0.01
"""Slices nearer to each other than this lie at the same place."""

TILT_DEGREES = 0.1
"""A stack leaning more than this is a tilted gantry; real tilts are half a degree and more."""

TILT_DRIFT_MM = 0.1
"""A sideways drift below this over the whole stack is rounding, however short the stack."""

MISSING_FACTOR = 1.5
"""A gap this many times the usual one means that slices are missing."""

UNEVEN_FRACTION = 0.1
"""How far, in slice distances, a slice may lie from its place on an even grid."""

NAMED_FILES = 3
"""How many file names of each kind a message lists."""

SPLIT_FILE = (
    "A file of several phases, echoes or stacks must be split first, for example with dcm2niix."
)


@dataclass(frozen=True, slots=True, eq=False)
class SliceGrid:
    """The slices of one series in the order of their positions, and where their voxels lie.

    Attributes:
        slices: ascending along the normal (row direction x column direction).
        affine: i along the columns' index, j along the rows' index, k across; to RAS+ mm.
    """

    slices: tuple[SliceHeader, ...]
    affine: Affine

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, each once, in the order of their first slices."""
        return tuple(dict.fromkeys(header.path for header in self.slices))


def slice_grid(headers: Sequence[SliceHeader]) -> SliceGrid:
    """Sort the slices and check that they form one even, upright stack.

    Raises:
        ImageReadError: names the files: mixed series, sizes or orientations, two slices at one
            place, a tilted gantry, missing slices, uneven distances.
    """
    _require_alike(headers)
    normal = headers[0].normal_lps
    slices = tuple(sorted(headers, key=lambda header: float(normal @ header.position_lps_mm)))
    heights_mm = np.array([normal @ header.position_lps_mm for header in slices])
    _require_apart(slices, heights_mm)
    _require_upright(slices, heights_mm)
    _require_even(slices, heights_mm)
    return SliceGrid(slices, _affine(slices, heights_mm))


def _require_alike(headers: Sequence[SliceHeader]) -> None:
    first = headers[0]
    same: tuple[tuple[str, Callable[[SliceHeader], bool], str], ...] = (
        (
            "several series",
            lambda header: header.series == first.series,
            "Give one file of the series you want instead of the folder, or sort the files first.",
        ),
        (
            "pictures of different sizes",
            lambda header: header.shape == first.shape,
            "Leave out the files that do not belong to the series.",
        ),
        (
            "slices of different orientations",
            lambda header: np.allclose(
                header.orientation_lps, first.orientation_lps, rtol=0, atol=ORIENTATION_ATOL
            ),
            "Leave out localizers and reformatted slices.",
        ),
        (
            "slices of different pixel spacing",
            lambda header: np.allclose(
                header.spacing_mm, first.spacing_mm, rtol=PIXEL_SPACING_RTOL, atol=0
            ),
            "Leave out the files that do not belong to the series.",
        ),
    )
    for what, agrees, cure in same:
        others = [header for header in headers if not agrees(header)]
        if others:
            raise ImageReadError(
                f"{first.path.parent} holds {what}: {_names([h for h in headers if agrees(h)])} "
                f"against {_names(others)}. {_cure(first, others[0], cure)}"
            )


def _require_apart(slices: Sequence[SliceHeader], heights_mm: Float64[np.ndarray, " n"]) -> None:
    cure = "Remove the copy, or the second phase or echo, from the folder."
    for below, above, gap_mm in zip(slices, slices[1:], np.diff(heights_mm), strict=False):
        if gap_mm < DUPLICATE_MM:
            raise ImageReadError(
                f"{below.place} and {above.name} lie at the same position; expected one slice at "
                f"each. {_cure(below, above, cure)}"
            )


def _require_upright(slices: Sequence[SliceHeader], heights_mm: Float64[np.ndarray, " n"]) -> None:
    positions = np.array([header.position_lps_mm for header in slices])
    normal = slices[0].normal_lps
    sideways = positions - positions[0] - np.outer(heights_mm - heights_mm[0], normal)
    drift_mm = np.linalg.norm(sideways, axis=1)
    allowed_mm = np.maximum(
        TILT_DRIFT_MM, np.tan(np.radians(TILT_DEGREES)) * (heights_mm - heights_mm[0])
    )
    if (drift_mm > allowed_mm).any():
        worst = int(np.argmax(drift_mm - allowed_mm))
        degrees = np.degrees(np.arctan2(drift_mm[worst], heights_mm[worst] - heights_mm[0]))
        raise ImageReadError(
            f"{slices[worst].place} lies {drift_mm[worst]:.2f} mm beside the stack that starts at "
            f"{slices[0].name} ({degrees:.1f} degrees): a tilted gantry or files of several "
            "stacks. Resample the series to an upright grid first, for example with dcm2niix."
        )


def _require_even(slices: Sequence[SliceHeader], heights_mm: Float64[np.ndarray, " n"]) -> None:
    gaps_mm = np.diff(heights_mm)
    if len(gaps_mm) == 0:
        return
    usual_mm = float(np.median(gaps_mm))
    again = "Copy the whole series again."
    holes = np.flatnonzero(gaps_mm > MISSING_FACTOR * usual_mm)
    if len(holes):
        between = "; ".join(
            f"{slices[hole].name} and {slices[hole + 1].name} ({gaps_mm[hole]:.2f} mm)"
            for hole in holes[:NAMED_FILES]
        )
        raise ImageReadError(
            f"{slices[0].path.parent} misses slices between {between}; the usual distance is "
            f"{usual_mm:.2f} mm. {_cure(slices[holes[0]], slices[holes[0] + 1], again)}"
        )
    even_mm = np.linspace(heights_mm[0], heights_mm[-1], len(heights_mm))
    off_mm = np.abs(heights_mm - even_mm)
    worst = int(np.argmax(off_mm))
    if off_mm[worst] > UNEVEN_FRACTION * usual_mm:
        raise ImageReadError(
            f"{slices[worst].place} lies {off_mm[worst]:.2f} mm off an even grid of "
            f"{usual_mm:.2f} mm; expected equal distances between slices. Copy the whole series "
            "again, or resample it to even slices first."
        )


def _affine(slices: Sequence[SliceHeader], heights_mm: Float64[np.ndarray, " n"]) -> Affine:
    first = slices[0]
    if len(slices) > 1:
        across_mm = float(heights_mm[-1] - heights_mm[0]) / (len(slices) - 1)
    elif first.thickness_mm is not None:
        across_mm = first.thickness_mm
    else:
        raise ImageReadError(
            f"{first.place} is a single slice without SliceThickness; "
            "give the folder of the whole series."
        )
    row_mm, col_mm = first.spacing_mm
    affine = np.eye(4)
    affine[:3, 0] = first.orientation_lps[0] * col_mm
    affine[:3, 1] = first.orientation_lps[1] * row_mm
    affine[:3, 2] = first.normal_lps * across_mm
    affine[:3, 3] = first.position_lps_mm
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _cure(one: SliceHeader, other: SliceHeader, cure: str) -> str:
    """What helps where two slices do not go together; those of one file cannot be sorted out."""
    return SPLIT_FILE if one.path == other.path else cure


def _names(headers: Sequence[SliceHeader]) -> str:
    names = sorted(header.name for header in headers)
    more = f" and {len(names) - NAMED_FILES} more" if len(names) > NAMED_FILES else ""
    return ", ".join(names[:NAMED_FILES]) + more
