"""The few slices of a case that say most, each as a small picture inside the page."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cobot.batch.colours import label_colour
from cobot.intensity import IntensityWindow
from cobot.planes import Plane
from cobot.report.overlay import BACKGROUND, PALETTE, draw_image, draw_mask, shown_region
from cobot.slicing import cut_slice
from cobot.volume import LabelMap, Volume

PICTURES = 4
"""A case: the least certain slice, and those that show the structures at their largest."""

ENOUGH = 0.9
"""A slice shows a structure well if it has this share of its largest area."""

WIDTH_PX, INCH_PX = 460, 115
JPEG_QUALITY = 84


@dataclass(frozen=True, slots=True)
class ChosenSlice:
    """A slice, and why it was chosen.

    Attributes:
        index: along the axis.
        reason: for the caption.
    """

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class CasePicture:
    """A picture ready for the page.

    Attributes:
        source: a data URI.
        caption: which slice, and why it is shown.
        width_px: of the picture.
        height_px: of the picture.
    """

    source: str
    caption: str
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True, eq=False)
class PicturedCase:
    """What pictures are made of.

    Attributes:
        volume: the image.
        window: black to white.
        label_map: the answer, on its grid.
        plane: how it was cut.
        truth: value in `label_map` to true voxels, outlined in white; empty without truth.
    """

    volume: Volume
    window: IntensityWindow
    label_map: LabelMap
    plane: Plane
    truth: Mapping[int, np.ndarray]


def colour_of(value: int, position: int) -> str:
    """A label's colour in pictures, chart and table: told apart as long as there are seven."""
    if position < len(PALETTE):
        return PALETTE[position]
    return "#{:02X}{:02X}{:02X}".format(*label_colour(value))


def choose_slices(
    areas: Mapping[str, Integer[np.ndarray, " slices"]],
    confidence: Mapping[str, Mapping[int, float]],
    count: int = PICTURES,
) -> list[ChosenSlice]:
    """The least certain slice, and few slices that show every structure near its largest.

    Args:
        areas: label to its pixels on each slice.
        confidence: label to slice index to confidence.
        count: of slices at most.

    Returns:
        In the order of the axis; empty if nothing was found or asked.
    """
    chosen: dict[int, list[str]] = {}
    certainties = [
        (value, label, index)
        for label, by_slice in confidence.items()
        for index, value in by_slice.items()
    ]
    if certainties:
        value, label, index = min(certainties)
        chosen[index] = [f"least certain: {label} {value:.2f}"]
    shows = {label: area >= ENOUGH * area.max() for label, area in areas.items() if area.any()}
    while shows and len(chosen) < count:
        best = int(np.argmax(_worth(shows, areas)))
        seen = [label for label, good in shows.items() if good[best]]
        chosen.setdefault(best, []).append(f"largest {_few(seen)}")
        shows = {label: good for label, good in shows.items() if label not in seen}
    return [ChosenSlice(index, "; ".join(why)) for index, why in sorted(chosen.items())]


def draw_pictures(case: PicturedCase, chosen: Sequence[ChosenSlice]) -> list[CasePicture]:
    """Draw slices with their masks, all cut to the same part of the body."""
    if not chosen:
        return []
    slices = [cut_slice(case.volume, case.plane, one.index) for one in chosen]
    shown = shown_region(slices, case.window)
    rows, cols = shown.shape
    ratio = rows * slices[0].spacing_mm[0] / (cols * slices[0].spacing_mm[1])
    size = (WIDTH_PX / INCH_PX, np.clip(ratio, 0.4, 2.0) * WIDTH_PX / INCH_PX)
    pictures = []
    for slice_, why in zip(slices, chosen, strict=True):
        figure = Figure(figsize=size, facecolor=BACKGROUND, dpi=INCH_PX)
        FigureCanvasAgg(figure)
        panel = figure.add_axes((0, 0, 1, 1))
        panel.set_facecolor(BACKGROUND)
        draw_image(panel, slice_, case.window, shown)
        found = case.plane.picture(case.label_map.voxels, slice_.index)
        for position, value in enumerate(case.label_map.labels):
            draw_mask(panel, found == value, colour_of(value, position))
            if value in case.truth:
                true = case.plane.picture(case.truth[value], slice_.index)
                if true.any():
                    panel.contour(true.astype(np.float32), [0.5], colors="white", linewidths=0.8)
        caption = f"{'ijk'[case.plane.axis]} = {slice_.index}: {why.reason}"
        pictures.append(_picture(figure, caption))
    return pictures


def _picture(figure: Figure, caption: str) -> CasePicture:
    stream = io.BytesIO()
    figure.savefig(
        stream, format="jpeg", facecolor=BACKGROUND, pil_kwargs={"quality": JPEG_QUALITY}
    )
    width, height = (round(inches * INCH_PX) for inches in figure.get_size_inches())
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    return CasePicture(f"data:image/jpeg;base64,{text}", caption, width, height)


def _worth(shows: Mapping[str, np.ndarray], areas: Mapping[str, np.ndarray]) -> np.ndarray:
    """How many structures each slice shows well; of equal slices, how near their largest."""
    well = np.sum([good.astype(np.float64) for good in shows.values()], axis=0)
    near = np.sum([areas[label] / areas[label].max() for label in shows], axis=0)
    return well + near / (2 * len(shows))


def _few(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
    return ", ".join(labels[:3]) + more
