"""The demo's work: segment, compare with what is trivial, draw, save."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from cobot.cli.demo_case import DemoCase
from cobot.cli.demo_table import compare, dice_table, volume_table
from cobot.intensity import IntensityWindow, window_rule
from cobot.io import write_label_map
from cobot.pipeline import segment_volume
from cobot.report.overlay import Overlay, write_overlay
from cobot.sam.device import choose_device
from cobot.sam.segmenter import SliceSegmenter
from cobot.sam.weights import load_sam
from cobot.training.boxes import slice_boxes
from cobot.volume import LabelMap

ORIGINS = {
    "tiny": "tiny is this project's own small network, not Meta's SAM.",
    "meta": "Meta's SAM, without an adapter.",
    "file": "Weights from a file of the user.",
}


@dataclass(frozen=True, slots=True)
class DemoModel:
    """The model, and what readers must know of it."""

    name: str
    segmenter: SliceSegmenter
    origin: str

    @classmethod
    def load(cls, name: str, weights: Path | None, device: str) -> "DemoModel":
        """Load weights onto a device.

        Raises:
            ConfigError: no such encoder or device.
            WeightsError: the weights are missing or do not fit.
        """
        segmenter = SliceSegmenter(load_sam(name, weights), choose_device(device))
        kind = "file" if weights else "tiny" if name == "tiny" else "meta"
        return cls(name, segmenter, ORIGINS[kind])


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What to show at the end: a table, and files by what they are."""

    table: Table
    files: Mapping[str, Path]


def run_demo(case: DemoCase, model: DemoModel, window_text: str) -> DemoResult:
    """Segment the case, write mask and picture, and tabulate.

    Raises:
        WindowError: the window cannot be read.
        ImageWriteError: a result cannot be written.
    """
    window = window_rule(window_text, case.volume).resolve(case.volume)
    found = segment_volume(case.volume, case.prompts, model.segmenter, window)
    mask, picture = (case.out / f"{case.name}_{what}" for what in ("mask.nii.gz", "overlay.png"))
    write_label_map(found.label_map, mask, case.image_path)
    overlay = Overlay(
        volume=case.volume,
        window=window,
        prompts=case.prompts,
        answer=found.label_map,
        truth=case.truth,
        title=f"{case.name}: one 3D box for each organ, segmented by {model.name}",
        note=f"{model.origin} Not for clinical use.",
    )
    write_overlay(overlay, picture)
    if case.truth is None:
        table = volume_table(found.label_map)
    else:
        tight = _segment_slice_boxes(case, case.truth, model, window)
        table = dice_table(compare(case.truth, case.prompts, found.label_map, tight))
    table.caption = (
        f"{found.seconds_per_slice:.3f} seconds per slice on {model.segmenter.device}, all organs "
        f"of a slice at once. {overlay.note}"
    )
    return DemoResult(table, {**case.files, "mask": mask, "picture": picture})


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
