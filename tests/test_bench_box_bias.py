"""The table of scripts/bench_box_bias.py, by hand."""

from pathlib import Path

import numpy as np
import pytest
from cobot.sam.answer import SliceMask

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def test_areas_and_dice_are_those_counted_by_hand(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from bench_box_bias import Tally

    truth = np.zeros((4, 4), bool)
    truth[1, :] = True
    logits = np.full((4, 4), -3.0, np.float32)
    logits[1, :2], logits[1, 2], logits[2, 0] = 2.0, -0.7, -0.7
    answer = SliceMask(logits > 0, logits, logits, 0.5)
    tally = Tally()
    tally.add(answer, np.array([0.0, 1.0, 3.0, 1.0]), truth)

    cells = [cell.strip() for cell in tally.row("rod").strip("|").split("|")]

    assert cells[:4] == ["rod", "0.50", "1.00", "1.000"], "the ellipse of a flat box is the rod"
    at = dict(zip((-2.0, -1.0, -0.5, 0.0, 0.5, 1.0), map(float, cells[4:]), strict=True))
    assert at[0.0] == at[-0.5] == at[1.0] == 0.667, "2 of 4 pixels, none beside: 2 * 2 / (2 + 4)"
    assert at[-1.0] == at[-2.0] == 0.75, "3 of 4 pixels and one beside: 2 * 3 / (4 + 4)"
