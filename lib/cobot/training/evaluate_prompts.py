"""How well a segmenter answers prompts: boxes, one click, and corrective clicks, per case.

A simulated annotator works through every slice that holds the structure. Its answers are stacked
and compared in 3D, so that a figure is one case's, not one slice's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cobot.datasets.plain_names import plain_name
from cobot.errors import ConfigError
from cobot.geometry import acquired_axis
from cobot.intensity import IntensityWindow, window_rule
from cobot.io import read_label_map, read_volume
from cobot.measures.shared_labels import carried_names
from cobot.planes import Plane, Slice, plane_across
from cobot.prompts import Prompts, tight_box
from cobot.sam.answer import SliceEmbedding, SliceMask
from cobot.sam.segmenter import SliceSegmenter
from cobot.shapes import BoxXyxy, Mask
from cobot.slicing import cut_slice
from cobot.training.baseline import disc_at_click, ellipse_in_box
from cobot.training.clicks import (
    Click,
    centre_click,
    corrective_click,
    jittered_box,
)
from cobot.volume import LabelMap, Volume

BOX_JITTER = 0.05
CLICK_CAP = 10
REPORTED_CLICKS = (1, 3, 5)
GOOD_DICE = 0.85
DISC_RADII_MM = (5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0)
SLICES_AT_ONCE = 4
SEED_MARK = "@"
"""Between a measure and the seed of its jitter: `box_jitter@0`."""


@dataclass(slots=True)
class Overlap:
    """Voxel counts of one answer over a case, from which its 3D Dice follows."""

    both: int = 0
    answer: int = 0
    truth: int = 0

    def add(self, answer: Mask, truth: Mask) -> None:
        """Count one more slice."""
        self.both += int((answer & truth).sum())
        self.answer += int(answer.sum())
        self.truth += int(truth.sum())

    @property
    def dice(self) -> float:
        """2 |A and B| / (|A| + |B|)."""
        return 2 * self.both / (self.answer + self.truth)


@dataclass(slots=True)
class StructureTally:
    """One structure of one case, while its slices are counted."""

    overlaps: dict[str, Overlap] = field(default_factory=dict)
    clicks_needed: list[int] = field(default_factory=list)

    def add(self, measure: str, answer: Mask, truth: Mask) -> None:
        """Count one slice's answer under a measure's name."""
        self.overlaps.setdefault(measure, Overlap()).add(answer, truth)

    def results(self) -> dict[str, float]:
        """Every measure of this structure and case; of jittered boxes also the mean over draws."""
        dice = {measure: overlap.dice for measure, overlap in self.overlaps.items()}
        draws: dict[str, list[float]] = {}
        for measure, value in dice.items():
            draws.setdefault(measure.partition(SEED_MARK)[0], []).append(value)
        means = {measure: float(np.mean(values)) for measure, values in draws.items()}
        return dice | means | {"clicks_to_0.85": float(np.mean(self.clicks_needed))}


@dataclass(frozen=True, slots=True)
class PromptedCase:
    """A labelled volume and how it is cut and shown."""

    name: str
    volume: Volume
    truth: LabelMap
    plane: Plane
    window: IntensityWindow


def evaluate_case(
    case: PromptedCase, segmenter: SliceSegmenter, seeds: Sequence[int]
) -> dict[str, dict[str, float]]:
    """All measures of all structures of one case.

    Args:
        case: a labelled volume; structures it lacks are left out.
        segmenter: what is measured.
        seeds: each jitters the boxes once.

    Returns:
        Structure name to measure to value: box, box_jitter, click_1, click_3, click_5 and their
        trivial baselines box_ellipse, box_jitter_ellipse and click_disc_R_mm are 3D Dice;
        box_jitter is the mean over seeds of box_jitter@SEED; clicks_to_0.85 is the mean over
        slices, 10 where never reached.
    """
    tallies: dict[str, StructureTally] = {}
    prompted = list(prompted_slices(case, seeds))
    for start in range(0, len(prompted), SLICES_AT_ONCE):
        part = prompted[start : start + SLICES_AT_ONCE]
        embeddings = segmenter.embed(
            [one.slice_ for one in part], case.window, [one.all_boxes() for one in part]
        )
        for one, embedding in zip(part, embeddings, strict=True):
            for label in one.truths:
                tallies.setdefault(label, StructureTally())
            _count_boxes(tallies, one, segmenter.decode(embedding, one.all_boxes()))
            _count_clicks(tallies, one, embedding, segmenter)
            _count_discs(tallies, one)
    return {label: tally.results() for label, tally in tallies.items()}


@dataclass(frozen=True, slots=True)
class PromptedSlice:
    """One slice, its structures, and the boxes an annotator would draw."""

    slice_: Slice
    truths: dict[str, Mask]
    boxes: dict[str, dict[str, BoxXyxy]]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, cols = self.slice_.pixels.shape
        return rows, cols

    def all_boxes(self) -> list[Prompts]:
        """Tight and jittered boxes of every structure, in the order of `boxes`."""
        return [Prompts(box_xyxy=box) for kind in self.boxes.values() for box in kind.values()]


def prompted_slices(case: PromptedCase, seeds: Sequence[int]) -> Iterator[PromptedSlice]:
    """Every slice that holds a structure, in order, with tight boxes and one draw for each seed."""
    draws = {f"box_jitter{SEED_MARK}{seed}": np.random.default_rng(seed) for seed in seeds}
    for index in range(case.volume.shape[case.plane.axis]):
        values = case.plane.picture(case.truth.voxels, index)
        masks = {name: values == value for value, name in case.truth.labels.items()}
        truths = {name: mask for name, mask in masks.items() if mask.any()}
        if not truths:
            continue
        boxes = {"box": {name: tight_box(mask) for name, mask in truths.items()}}
        for draw, rng in draws.items():
            boxes[draw] = {
                name: jittered_box(mask, BOX_JITTER, rng) for name, mask in truths.items()
            }
        yield PromptedSlice(cut_slice(case.volume, case.plane, index), truths, boxes)


def _count_boxes(
    tallies: dict[str, StructureTally], one: PromptedSlice, answers: Sequence[SliceMask]
) -> None:
    answered = iter(answers)
    for kind, boxes in one.boxes.items():
        for label, box in boxes.items():
            truth = one.truths[label]
            tallies[label].add(kind, next(answered).mask, truth)
            tallies[label].add(_of_ellipse(kind), ellipse_in_box(box, one.shape), truth)


def _of_ellipse(kind: str) -> str:
    """The baseline's name: `box_jitter@0` to `box_jitter_ellipse@0`."""
    measure, mark, seed = kind.partition(SEED_MARK)
    return f"{measure}_ellipse{mark}{seed}"


def _count_clicks(
    tallies: dict[str, StructureTally],
    one: PromptedSlice,
    embedding: SliceEmbedding,
    segmenter: SliceSegmenter,
) -> None:
    """Click the centre, then the largest error, up to the cap."""
    clicks = {label: [centre_click(truth)] for label, truth in one.truths.items()}
    logits: dict[str, np.ndarray | None] = dict.fromkeys(one.truths)
    needed = dict.fromkeys(one.truths, CLICK_CAP)
    for count in range(1, CLICK_CAP + 1):
        asked = [_click_prompts(clicks[label], logits[label]) for label in one.truths]
        for (label, truth), answer in zip(
            one.truths.items(), segmenter.decode(embedding, asked), strict=True
        ):
            if count in REPORTED_CLICKS:
                tallies[label].add(f"click_{count}", answer.mask, truth)
            if _dice(answer.mask, truth) >= GOOD_DICE:
                needed[label] = min(needed[label], count)
            error = corrective_click(truth, answer.mask)
            clicks[label] = clicks[label] + ([error] if error else [])
            logits[label] = answer.low_res_logits
    for label, count in needed.items():
        tallies[label].clicks_needed.append(count)


def _click_prompts(clicks: Sequence[Click], logits: np.ndarray | None) -> Prompts:
    return Prompts(
        points_xy=np.array([[click.x_px, click.y_px] for click in clicks]),
        positive=np.array([click.positive for click in clicks]),
        mask_logits=logits,
    )


def _count_discs(tallies: dict[str, StructureTally], one: PromptedSlice) -> None:
    for label, truth in one.truths.items():
        click = centre_click(truth)
        for radius_mm in DISC_RADII_MM:
            disc = disc_at_click(
                np.array([click.x_px, click.y_px]), radius_mm, one.slice_.spacing_mm, one.shape
            )
            tallies[label].add(f"click_disc_{radius_mm:g}_mm", disc, truth)


def _dice(answer: Mask, truth: Mask) -> float:
    return 2 * int((answer & truth).sum()) / int(answer.sum() + truth.sum())


@dataclass(frozen=True, slots=True)
class CaseOptions:
    """How labelled volumes are read.

    Attributes:
        names: label values to names, others left out; empty takes the file's own. A file that
            carries names is read by these, any other by value; values of one name are one
            structure.
        axis: i, j, k, or auto for the coarsest spacing.
        window: as `window_rule` reads it.
    """

    names: Mapping[int, str]
    axis: str = "auto"
    window: str = "auto"


def read_case(image: Path, label: Path, options: CaseOptions) -> PromptedCase:
    """Read a labelled volume and settle how it is cut and shown.

    Args:
        image: any image file `read_volume` knows.
        label: integer labels on the image's grid.
        options: labels, axis and window.

    Raises:
        CobotError: a file cannot be read, the grids differ, or the axis is unknown.
    """
    volume = read_volume(image)
    truth = read_label_map(label).on_grid_of(volume)
    if options.axis not in ("auto", "i", "j", "k"):
        raise ConfigError(f"Unknown axis {options.axis!r}; expected auto, i, j or k.")
    automatic = options.axis == "auto"
    number = acquired_axis(volume.affine) if automatic else "ijk".index(options.axis)
    return PromptedCase(
        name=image.name,
        volume=volume,
        truth=_renumbered(truth, options.names or truth.labels),
        plane=plane_across(volume.affine, number),
        window=window_rule(options.window, volume).resolve(volume),
    )


def _renumbered(truth: LabelMap, names: Mapping[int, str]) -> LabelMap:
    """The structures asked for, each under the first value that was given for it."""
    asked: dict[str, int] = {}
    for value, name in names.items():
        asked.setdefault(plain_name(name), value)
    named = replace(truth, labels={value: names[value] for value in asked.values()})
    known = carried_names(truth.labels) or names
    table = np.zeros(int(truth.voxels.max()) + 1, np.uint16)
    for value in np.unique(truth.voxels).tolist():
        table[value] = asked.get(plain_name(known.get(value, "")), 0)
    return replace(named, voxels=table[truth.voxels])
