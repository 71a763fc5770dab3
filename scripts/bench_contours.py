"""Mask to contours to mask: rt-utils' contours beside ours, read in two ways.

    python scripts/bench_contours.py --markdown contours.md

"centres" asks which pixel centres lie in an odd number of contours, in patient millimetres, as most
programs do; "rt-utils" rounds corners to pixels and fills with the border. Shapes lie on one slice;
nothing is written to disk. Seconds in all.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from cobot.atomic import atomic_path
from cobot.io.contours import outlines
from matplotlib.path import Path as Polygon
from pydicom.dataset import Dataset
from rt_utils import image_helper
from rt_utils.utils import ROIData

SIDE_PX = 64
ROWS, COLS = np.indices((SIDE_PX, SIDE_PX))
ORIGIN_MM = (-20.0, -30.0, 5.0)
Contours = Sequence[np.ndarray]


def disc(radius_px: float) -> np.ndarray:
    """A disc off the middle of the picture."""
    return (COLS - 30) ** 2 + (ROWS - 28) ** 2 < radius_px**2


def shapes() -> dict[str, np.ndarray]:
    """Names and masks; the noise is the hardest that a mask can be."""
    hole = disc(15)
    hole[28, 30] = False
    line = np.zeros((SIDE_PX, SIDE_PX), bool)
    line[20, 10:40] = True
    pixel = np.zeros_like(line)
    pixel[20, 20] = True
    return {
        "disc": disc(15),
        "ring": disc(15) & ~disc(6),
        "hole of one pixel": hole,
        "line one pixel wide": line,
        "one pixel": pixel,
        "noise": np.random.default_rng(0).random((SIDE_PX, SIDE_PX)) < 0.5,
    }


def slice_header(spacing_mm: tuple[float, float]) -> Dataset:
    """What rt-utils looks at; spacing between rows, then columns."""
    header = Dataset()
    header.ImagePositionPatient = list(ORIGIN_MM)
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.PixelSpacing = list(spacing_mm)
    header.Rows = header.Columns = SIDE_PX
    return header


def contours_of_rt_utils(mask: np.ndarray, spacing_mm: tuple[float, float]) -> Contours:
    """Points in millimetres, n by 3."""
    roi = ROIData(mask[:, :, None], [255, 0, 0], 1, "x", "1.2", "")
    (found,) = image_helper.get_contours_coords(roi, [slice_header(spacing_mm)])
    return [np.reshape(points, (-1, 3)) for points in found]


def our_contours(mask: np.ndarray, spacing_mm: tuple[float, float]) -> Contours:
    """Points in millimetres, n by 3, as lib/cobot/io/rtstruct.py places them."""
    steps = np.array([[spacing_mm[1], 0, 0], [0, spacing_mm[0], 0]])
    return [np.round(np.array(ORIGIN_MM) + corners @ steps, 4) for corners in outlines(mask)]


def by_centres(contours: Contours, spacing_mm: tuple[float, float]) -> np.ndarray:
    """The pixels whose centres lie inside."""
    centres = np.column_stack([COLS.ravel() * spacing_mm[1], ROWS.ravel() * spacing_mm[0]])
    mask = np.zeros((SIDE_PX, SIDE_PX), bool)
    for points in contours:
        if len(points) > 2:
            polygon = Polygon(points[:, :2] - ORIGIN_MM[:2])
            mask ^= polygon.contains_points(centres).reshape(mask.shape)
    return mask


def by_rt_utils(contours: Contours, spacing_mm: tuple[float, float]) -> np.ndarray:
    """As rt-utils reads a slice."""
    header = slice_header(spacing_mm)
    from_mm = image_helper.get_patient_to_pixel_transformation_matrix([header])
    flat = [points.ravel().tolist() for points in contours]
    filled = image_helper.get_slice_mask_from_slice_contour_data(header, flat, from_mm)
    return np.asarray(filled).astype(bool)


def area_ratio(contours: Contours, mask: np.ndarray, spacing_mm: tuple[float, float]) -> float:
    """Area of all contours, in areas of the mask's pixels."""
    area_mm2 = 0.0
    for points in contours:
        x, y = (points[:, :2] - ORIGIN_MM[:2]).T
        area_mm2 += abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    return area_mm2 / (mask.sum() * spacing_mm[0] * spacing_mm[1])


def wrong(read: Callable[[], np.ndarray], mask: np.ndarray) -> str:
    """How many pixels differ, or that the reader failed."""
    try:
        return str(int(np.count_nonzero(read() != mask)))
    except Exception as error:  # noqa: BLE001 - what a foreign reader raises is the result
        return f"fails ({type(error).__module__}.{type(error).__name__})"


def main(markdown: Annotated[Path | None, typer.Option()] = None) -> None:
    """Print the table, and write it."""
    lines = [
        "| shape | pixel mm | pixels | contours by | wrong by centres | wrong by rt-utils | area |",
        "|---|---|---:|---|---:|---:|---:|",
    ]
    writers = {"rt-utils": contours_of_rt_utils, "ours": our_contours}
    cases = [(name, mask, (1.0, 1.0)) for name, mask in shapes().items()]
    cases.insert(1, ("disc", disc(15), (0.7, 0.8)))
    for name, mask, spacing_mm in cases:
        for writer, write in writers.items():
            contours = write(mask, spacing_mm)
            centres = wrong(lambda c=contours, s=spacing_mm: by_centres(c, s), mask)
            rounded = wrong(lambda c=contours, s=spacing_mm: by_rt_utils(c, s), mask)
            lines.append(
                f"| {name} | {spacing_mm[0]} x {spacing_mm[1]} | {mask.sum()} | {writer} | "
                f"{centres} | {rounded} | {area_ratio(contours, mask, spacing_mm):.3f} |"
            )
    text = "\n".join(lines) + "\n"
    print(text)
    if markdown is not None:
        with atomic_path(markdown) as partial:
            partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
