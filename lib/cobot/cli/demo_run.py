"""The demo's work: segment, compare with what is trivial, draw, save."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from cobot.cli.demo_case import DemoCase, result_path
from cobot.cli.demo_models import DemoModel, DemoModels
from cobot.cli.demo_table import OrganScore, compare, dice_table, volume_table
from cobot.intensity import IntensityWindow, window_rule
from cobot.io import write_label_map
from cobot.pipeline import VolumeSegmentation, segment_volume
from cobot.report.overlay import Overlay, write_overlay
from cobot.training.boxes import slice_boxes
from cobot.volume import LabelMap


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What to show at the end: a table, and files by what they are."""

    table: Table
    files: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class _Answers:
    """What one model made of a case.

    Attributes:
        found: from one 3D box for each organ.
        scores: against the truth; None where there is none.
    """

    found: VolumeSegmentation
    scores: list[OrganScore] | None


def run_demo(case: DemoCase, models: DemoModels, window_text: str) -> DemoResult:
    """Segment the case, write mask and picture, and tabulate.

    Raises:
        WindowError: the window cannot be read.
        ImageWriteError: a result cannot be written.
    """
    window = window_rule(window_text, case.volume).resolve(case.volume)
    shown = _answers(case, models.shown, window)
    base = None if models.base is None else _answers(case, models.base, window)
    label_map = shown.found.label_map
    mask = result_path(case.out, case.name, "_mask.nii.gz")
    picture = result_path(case.out, case.name, "_overlay.png")
    write_label_map(label_map, mask, case.image_path)
    overlay = Overlay(
        volume=case.volume,
        window=window,
        prompts=case.prompts,
        answer=label_map,
        truth=case.truth,
        title=f"{case.name}: one 3D box for each organ, segmented by {models.shown.name}",
        note=f"{models.shown.origin} Not for clinical use.",
    )
    write_overlay(overlay, picture)
    if shown.scores is None:
        table = volume_table(label_map, None if base is None else base.found.label_map)
    else:
        table = dice_table(shown.scores, None if base is None else base.scores)
    table.caption = (
        f"{shown.found.seconds_per_slice:.3f} seconds per slice on {models.shown.place}, all "
        f"organs of a slice at once. {overlay.note}"
    )
    return DemoResult(table, {**case.files, "mask": mask, "picture": picture})


def _answers(case: DemoCase, model: DemoModel, window: IntensityWindow) -> _Answers:
    found = segment_volume(case.volume, case.prompts, model.segmenter, window)
    if case.truth is None:
        return _Answers(found, None)
    tight = _segment_slice_boxes(case, case.truth, model, window)
    return _Answers(found, compare(case.truth, case.prompts, found.label_map, tight))


def _segment_slice_boxes(
    case: DemoCase, truth: LabelMap, model: DemoModel, window: IntensityWindow
) -> LabelMap:
    """The same with a tight box on every slice: what more of the annotator's time would give."""
    labels = dict(enumerate((target.label for target in case.prompts.objects), start=1))
    voxels = np.zeros(case.volume.shape, np.uint8)
    boxes = slice_boxes(truth, list(labels.values()), case.prompts.plane)
    for prompts in boxes.values():
        found = segment_volume(case.volume, prompts, model.segmenter, window).label_map
        for value, name in labels.items():
            if name in found.labels.values():
                voxels[found.mask(name)] = value
    return LabelMap(voxels, case.volume.affine, labels)
