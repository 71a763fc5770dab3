"""A case as the page shows it: pictures, the chart of confidence, and one row a label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cobot.batch.paths import input_path
from cobot.datasets.plain_names import plain_name
from cobot.errors import CobotError
from cobot.intensity import IntensityWindow, window_rule
from cobot.io import read_label_map, read_volume
from cobot.measures.compare import LabelScore, stated_rule
from cobot.measures.shared_labels import share_labels
from cobot.planes import plane_across
from cobot.report.batch_cases import ReviewedCase
from cobot.report.case_pictures import (
    CasePicture,
    PicturedCase,
    choose_slices,
    colour_of,
    draw_pictures,
)
from cobot.volume import LabelMap, Volume

EMPTY_ROWS = 8
"""More labels than this of which nothing is known get no rows: other tools name 117 organs."""

CHART_WIDTH, CHART_HEIGHT = 560.0, 120.0
"""Of the area that lines are drawn in, in units of the chart's own view box."""


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One structure in the table.

    Attributes:
        name: of the label.
        colour: as in the pictures.
        volume_ml: found.
        least: confidence on its worst slice; None if it was not asked.
        mean: over its slices.
        score: against the truth, if there is one.
    """

    name: str
    colour: str
    volume_ml: float | None
    least: float | None
    mean: float | None
    score: LabelScore | None

    @property
    def is_empty(self) -> bool:
        """Whether it was not asked for, not found, and is not measured."""
        return not self.volume_ml and self.least is None and self.score is None


@dataclass(frozen=True, slots=True)
class ChartLine:
    """Confidence of one label along the axis.

    Attributes:
        name: of the label.
        colour: as in the pictures.
        runs: points "x,y x,y" of slices that follow each other.
        dots: slices that stand alone.
    """

    name: str
    colour: str
    runs: Sequence[str]
    dots: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Chart:
    """All lines of a case, with the first and last slice of the axis."""

    lines: Sequence[ChartLine]
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class CaseView:
    """Everything the page writes about a case.

    Attributes:
        case: the case.
        anchor: of its place in the page.
        rows: one a label.
        absent: labels without a row: many are named, of which nothing was asked or found.
        chart: None if nothing was asked.
        pictures: empty if none were wanted.
        no_picture: why there is none.
    """

    case: ReviewedCase
    anchor: str
    rows: Sequence[LabelRow]
    absent: Sequence[str]
    chart: Chart | None
    pictures: Sequence[CasePicture]
    no_picture: str


def view_case(case: ReviewedCase, number: int, folder: Path, pictured: bool) -> CaseView:
    """Prepare a case for the page.

    Args:
        case: the case.
        number: its place, for the anchor.
        folder: the batch's output folder.
        pictured: whether to draw its slices.
    """
    pictures: Sequence[CasePicture] = ()
    no_picture = "" if pictured else "Not among the first cases, so no slices are drawn."
    if pictured:
        try:
            pictures = _pictures(case, folder)
            no_picture = "" if pictures else "Nothing was asked and nothing found."
        except CobotError as error:
            no_picture = f"No slices are drawn: {error}"
    rows = [_row(case, value, place) for place, value in enumerate(case.record.labels)]
    empty = [row for row in rows if row.is_empty]
    absent = [row.name for row in empty] if len(empty) > EMPTY_ROWS else []
    rows = [row for row in rows if row.name not in absent]
    return CaseView(case, f"case-{number}", rows, absent, _chart(case), pictures, no_picture)


def _pictures(case: ReviewedCase, folder: Path) -> list[CasePicture]:
    record = case.record
    label_map = read_label_map(case.mask, dict(record.labels))
    volume = read_volume(input_path(record.input, folder))
    label_map.require_same_grid(volume)
    axis = "ijk".index(record.axis or "k")
    pictured = PicturedCase(
        volume=volume,
        window=_window(case, volume),
        label_map=label_map,
        plane=plane_across(volume.affine, axis),
        truth=_true_masks(case, label_map),
    )
    across = tuple({0, 1, 2} - {axis})
    areas = {
        label: (label_map.voxels == value).sum(axis=across)
        for value, label in record.labels.items()
    }
    return draw_pictures(pictured, choose_slices(areas, record.confidence))


def _window(case: ReviewedCase, volume: Volume) -> IntensityWindow:
    """As the model saw it."""
    known = case.record.provenance
    if known is None or known.window_lower is None or known.window_upper is None:
        return window_rule("auto", volume).resolve(volume)
    return IntensityWindow(known.window_lower, known.window_upper)


def _true_masks(case: ReviewedCase, label_map: LabelMap) -> dict[int, np.ndarray]:
    if case.truth is None or not case.scores:
        return {}
    truth = (case.truth, read_label_map(case.truth).on_grid_of(label_map))
    shared = share_labels((case.mask, label_map), truth, stated_rule(case.truth))
    return {value: shared.truth.mask(label) for value, label in label_map.labels.items()}


def _row(case: ReviewedCase, value: int, place: int) -> LabelRow:
    name = case.record.labels[value]
    asked = list(case.record.confidence.get(name, {}).values())
    return LabelRow(
        name=name,
        colour=colour_of(value, place),
        volume_ml=case.record.volume_ml.get(name),
        least=min(asked) if asked else None,
        mean=float(np.mean(asked)) if asked else None,
        score=case.scores.get(plain_name(name)),
    )


def _chart(case: ReviewedCase) -> Chart | None:
    asked = [index for by_slice in case.record.confidence.values() for index in by_slice]
    if not asked:
        return None
    first, last = min(asked), max(asked)
    lines = []
    for place, (value, name) in enumerate(case.record.labels.items()):
        if by_slice := case.record.confidence.get(name):
            lines.append(_line(name, colour_of(value, place), by_slice, (first, last)))
    return Chart(lines, first, last)


def _line(
    name: str, colour: str, by_slice: Mapping[int, float], ends: tuple[int, int]
) -> ChartLine:
    """Slices that follow each other are joined; a gap stays a gap."""
    first, last = ends
    runs: list[list[int]] = []
    for index in sorted(by_slice):
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])

    def place(index: int) -> tuple[float, float]:
        across = (index - first) / (last - first) if last > first else 0.5
        up = float(np.clip(by_slice[index], 0, 1))
        return round(across * CHART_WIDTH, 1), round((1 - up) * CHART_HEIGHT, 1)

    return ChartLine(
        name=name,
        colour=colour,
        runs=[" ".join(f"{x:g},{y:g}" for x, y in map(place, run)) for run in runs if len(run) > 1],
        dots=[place(run[0]) for run in runs if len(run) == 1],
    )
