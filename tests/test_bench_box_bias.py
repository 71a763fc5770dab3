"""The table of scripts/bench_box_bias.py, by hand."""

from pathlib import Path

import numpy as np
import pytest
from cobot.intensity import IntensityWindow
from cobot.planes import plane_across
from cobot.sam.answer import SliceMask
from cobot.training.evaluate_prompts import PromptedCase
from cobot.volume import LabelMap, Volume

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


class Answers:
    """Stands in for the model: the same logits on the slice's one box."""

    def __init__(self, logits: np.ndarray) -> None:
        self.logits = logits

    def segment(self, slice_, window, prompts):
        return [SliceMask(self.logits > 0, self.logits, self.logits, 0.5) for _ in prompts]


def test_areas_and_dice_are_those_counted_by_hand(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import bench_box_bias

    monkeypatch.setattr("cobot.training.evaluate_prompts.BOX_JITTER", 0.0)
    voxels = np.zeros((8, 8, 1), np.uint8)
    voxels[2:6, 3, 0] = 1
    affine = np.eye(4)
    plane = plane_across(affine, 2)
    truth = plane.picture(voxels, 0) == 1
    inside = np.argwhere(truth)
    logits = np.full(truth.shape, -3.0, np.float32)
    logits[tuple(inside[:2].T)] = 2.0
    logits[tuple(inside[2])] = logits[0, 0] = -0.7
    case = PromptedCase(
        "rod",
        Volume(voxels.astype(np.int16), affine),
        LabelMap(voxels, affine, {1: "rod"}),
        plane,
        IntensityWindow(0.0, 1.0),
    )
    tallies = {}
    bench_box_bias.count_case(case, Answers(logits), tallies)

    titles, _, row = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in bench_box_bias.table(tallies).splitlines()
    )

    at = dict(zip(titles, row, strict=True))
    assert (at["structure"], at["area / truth"]) == ("rod", "0.50"), "2 of 4 pixels"
    assert (at["ellipse / truth"], at["Dice of ellipse"]) == ("1.00", "1.000"), "it is the rod"
    for cut in ("-0.5", "0", "0.5", "1"):
        assert at[f"Dice at {cut}"] == "0.667", "2 of 4 pixels, none beside: 2 * 2 / (2 + 4)"
    for cut in ("-2", "-1"):
        assert at[f"Dice at {cut}"] == "0.750", "3 of 4 and one beside: 2 * 3 / (4 + 4)"
