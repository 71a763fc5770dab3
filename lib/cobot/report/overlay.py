"""A picture of a segmentation: what was asked in the upper row, what was answered below."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Integer
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from cobot.atomic import atomic_path
from cobot.intensity import IntensityWindow
from cobot.planes import Slice
from cobot.prompts import VolumePrompts
from cobot.sam.body import body_region
from cobot.sam.frame import Region
from cobot.shapes import Mask
from cobot.slicing import cut_slice
from cobot.volume import LabelMap, Volume

PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#8C9EFF")
"""Okabe and Ito's colours, told apart by colour-blind readers; their dark blue, lost on black,
is made lighter. Labels beyond the seventh start again."""

BACKGROUND, INK, SOFT_INK = "#0B0D10", "#F2F4F7", "#9AA4B2"
PANEL_INCHES = 3.6
EDGE_INCHES, HEAD_INCHES, FOOT_INCHES = 0.32, 0.52, 0.66
DOTS_PER_INCH = 130


@dataclass(frozen=True, slots=True)
class Overlay:
    """Everything a picture shows.

    Attributes:
        volume: the image.
        window: black to white.
        prompts: what was asked; its boxes are drawn, and it says how to cut.
        answer: what was found.
        truth: drawn as a thin white line where known.
        title: first line, large.
        note: last line, small: what the reader must know before believing it.
    """

    volume: Volume
    window: IntensityWindow
    prompts: VolumePrompts
    answer: LabelMap
    truth: LabelMap | None
    title: str
    note: str


def write_overlay(overlay: Overlay, path: Path, count: int = 4) -> None:
    """Draw up to `count` telling slices into a PNG.

    Raises:
        ImageWriteError: the folder cannot be written.
    """
    plane = overlay.prompts.plane
    slices = [cut_slice(overlay.volume, plane, index) for index in telling_slices(overlay, count)]
    shown = shown_region(slices, overlay.window)
    height = PANEL_INCHES * _height_over_width(slices[0], shown)
    size = (PANEL_INCHES * len(slices) + EDGE_INCHES, 2 * height + HEAD_INCHES + FOOT_INCHES)
    figure = Figure(figsize=size, facecolor=BACKGROUND, dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(slices), squeeze=False)
    for column, slice_ in enumerate(slices):
        for panel in panels[:, column]:
            draw_image(panel, slice_, overlay.window, shown)
        _draw_boxes(panels[0, column], slice_, overlay)
        _draw_masks(panels[1, column], slice_, overlay)
    _write_texts(figure, panels, overlay)
    with atomic_path(path) as partial:
        figure.savefig(partial, facecolor=BACKGROUND)


def telling_slices(overlay: Overlay, count: int) -> Sequence[int]:
    """Slices, spread over the range that was asked for, that show the most structures.

    The range is cut into `count` equal parts; of each part the slice with the most structures is
    taken, and of those the one nearest the middle of the part.
    """
    axis = overlay.prompts.plane.axis
    maps = [overlay.answer] + ([overlay.truth] if overlay.truth is not None else [])
    structures = np.zeros(overlay.volume.shape[axis], np.int64)
    for labels in maps:
        across = np.moveaxis(labels.voxels, axis, 0).reshape(len(structures), -1)
        structures += [len(np.unique(slice_[slice_ > 0])) for slice_ in across]
    found = np.flatnonzero(structures) if structures.any() else np.array([len(structures) // 2])
    parts = np.array_split(found, min(count, len(found)))
    return [_most_telling(part, structures) for part in parts]


def _most_telling(
    part: Integer[np.ndarray, " n"], structures: Integer[np.ndarray, " slices"]
) -> int:
    most = part[structures[part] == structures[part].max()]
    return int(most[np.abs(most - part.mean()).argmin()])


def shown_region(slices: Sequence[Slice], window: IntensityWindow) -> Region:
    """The rectangle that holds the body on every slice drawn, so that panels are of one size."""
    brightest = np.max([window.apply(slice_.pixels) for slice_ in slices], axis=0)
    return body_region(brightest, np.empty((0, 2)))


def _height_over_width(slice_: Slice, shown: Region) -> float:
    rows, cols = shown.shape
    return rows * slice_.spacing_mm[0] / (cols * slice_.spacing_mm[1])


def draw_image(panel: Axes, slice_: Slice, window: IntensityWindow, shown: Region) -> None:
    """A slice in grey, upright and in the patient's proportions, cut to the rectangle shown."""
    panel.imshow(
        window.apply(slice_.pixels),
        cmap="gray",
        vmin=0,
        vmax=1,
        interpolation="lanczos",
        aspect=slice_.spacing_mm[0] / slice_.spacing_mm[1],
    )
    panel.set_xlim(shown.col_start - 0.5, shown.col_stop - 0.5)
    panel.set_ylim(shown.row_stop - 0.5, shown.row_start - 0.5)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)


def _draw_boxes(panel: Axes, slice_: Slice, overlay: Overlay) -> None:
    """The prompts, and which slice this is."""
    for label, asked in overlay.prompts.on_slice(slice_).items():
        colour = _colour(overlay, label)
        if asked.box_xyxy is not None:
            left, top, right, bottom = asked.box_xyxy
            corner = (left - 0.5, top - 0.5)
            box = (right - left + 1, bottom - top + 1)
            panel.add_patch(Rectangle(corner, *box, fill=False, edgecolor=colour, linewidth=1.6))
        for (x, y), positive in zip(asked.points_xy, asked.positive, strict=True):
            panel.plot(x, y, "o" if positive else "x", color=colour, markersize=6)
    name = f"{'ijk'[slice_.plane.axis]} = {slice_.index}"
    panel.text(0.015, 0.97, name, transform=panel.transAxes, va="top", color=SOFT_INK, fontsize=9)


def _draw_masks(panel: Axes, slice_: Slice, overlay: Overlay) -> None:
    plane, index = slice_.plane, slice_.index
    found = plane.picture(overlay.answer.voxels, index)
    for value, label in overlay.answer.labels.items():
        draw_mask(panel, found == value, _colour(overlay, label))
    if overlay.truth is None:
        return
    true = plane.picture(overlay.truth.voxels, index)
    for value, label in overlay.truth.labels.items():
        mask = true == value
        if label in overlay.answer.labels.values() and mask.any():
            panel.contour(mask.astype(np.float32), [0.5], colors="white", linewidths=0.8)


def draw_mask(panel: Axes, mask: Mask, colour: str) -> None:
    """A mask as a translucent area with its outline."""
    if mask.any():
        panel.contourf(mask.astype(np.float32), [0.5, 1.5], colors=[colour], alpha=0.38)
        panel.contour(mask.astype(np.float32), [0.5], colors=[colour], linewidths=1.5)


def _colour(overlay: Overlay, label: str) -> str:
    names = list(overlay.answer.labels.values())
    return PALETTE[names.index(label) % len(PALETTE)]


def _write_texts(figure: Figure, panels: np.ndarray, overlay: Overlay) -> None:
    width, height = figure.get_size_inches()
    left, right = EDGE_INCHES / width, 1 - 0.05 / width
    figure.subplots_adjust(
        left, FOOT_INCHES / height, right, 1 - HEAD_INCHES / height, wspace=0.015, hspace=0.02
    )
    for panel, text in zip(panels[:, 0], ("asked: boxes", "answered: masks"), strict=True):
        panel.set_ylabel(text, color=SOFT_INK, fontsize=10, labelpad=4)
    figure.text(left, 1 - 0.14 / height, overlay.title, color=INK, fontsize=14, va="top")
    figure.text(left, 0.1 / height, overlay.note, color=SOFT_INK, fontsize=8.5, va="bottom")
    keys: list[Patch | Line2D] = [
        Patch(facecolor=_colour(overlay, label), label=label)
        for label in overlay.answer.labels.values()
    ]
    if overlay.truth is not None:
        keys.append(Line2D([], [], color="white", linewidth=1, label="truth"))
    figure.legend(
        handles=keys,
        loc="lower left",
        bbox_to_anchor=(left - 0.005, 0.3 / height),
        ncols=len(keys),
        frameon=False,
        labelcolor=INK,
        fontsize=10,
        handlelength=1.2,
        columnspacing=1.6,
        borderpad=0,
    )
