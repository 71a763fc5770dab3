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


@pytest.fixture
def bench_box_bias(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import bench_box_bias

    monkeypatch.setattr("cobot.training.evaluate_prompts.BOX_JITTER", 0.0)
    return bench_box_bias


def rod() -> PromptedCase:
    """Four pixels in a row, in the left half of an 8 by 8 picture."""
    voxels = np.zeros((8, 8, 1), np.uint8)
    voxels[2:6, 3, 0] = 1
    affine = np.eye(4)
    return PromptedCase(
        "rod",
        Volume(voxels.astype(np.int16), affine),
        LabelMap(voxels, affine, {1: "rod"}),
        plane_across(affine, 2),
        IntensityWindow(0.0, 1.0),
    )


def row_of(table: str) -> dict[str, str]:
    """Title to cell of a table of one structure."""
    titles, _, row = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
    )
    return dict(zip(titles, row, strict=True))


def test_areas_and_dice_are_those_counted_by_hand(bench_box_bias):
    case = rod()
    truth = case.plane.picture(case.truth.voxels, 0) == 1
    inside = np.argwhere(truth)
    logits = np.full(truth.shape, -3.0, np.float32)
    logits[tuple(inside[:2].T)] = 2.0
    logits[tuple(inside[2])] = logits[0, 0] = -0.7
    counted = {}
    bench_box_bias.count_case(case, Answers(logits), counted, mirrored=False)

    at = row_of(bench_box_bias.table(counted))
    assert (at["structure"], at["area / truth"]) == ("rod", "0.50"), "2 of 4 pixels"
    assert (at["pixels a slice"], at["at the edge"]) == ("4.0", "1.00"), "it is one pixel wide"
    assert (at["ellipse / truth"], at["Dice of ellipse"]) == ("1.00", "1.000"), "it is the rod"
    for cut in ("-0.5", "0", "0.5", "1"):
        assert at[f"Dice at {cut}"] == "0.667", "2 of 4 pixels, none beside: 2 * 2 / (2 + 4)"
    for cut in ("-2", "-1"):
        assert at[f"Dice at {cut}"] == "0.750", "3 of 4 and one beside: 2 * 3 / (4 + 4)"


class Bright:
    """Stands in for the model: in the box, what the picture shows there."""

    def segment(self, slice_, window, prompts):
        answers = []
        for prompt in prompts:
            x0, y0, x1, y1 = prompt.box_xyxy.astype(int)
            logits = np.full(slice_.pixels.shape, -1.0, np.float32)
            logits[y0 : y1 + 1, x0 : x1 + 1] = slice_.pixels[y0 : y1 + 1, x0 : x1 + 1]
            answers.append(SliceMask(logits > 0, logits, logits, 0.5))
        return answers


def test_a_mirror_image_is_asked_and_turned_back(bench_box_bias):
    counted = {}
    bench_box_bias.count_case(rod(), Bright(), counted, mirrored=True)
    assert row_of(bench_box_bias.table(counted))["Dice at 0"] == "1.000"
    counted = {}
    halved = np.full((8, 8), -1.0, np.float32)
    halved[:, :4] = 0.9
    bench_box_bias.count_case(rod(), Answers(halved), counted, mirrored=True)
    assert row_of(bench_box_bias.table(counted))["area / truth"] == "0.00", "(0.9 - 1) / 2 < 0"
