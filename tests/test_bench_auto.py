"""The table of segmentation without a prompt: its baseline, its means, and what it draws."""

import sys
from pathlib import Path

import numpy as np
import pytest
from cobot.geometry import check_affine
from cobot.intensity import IntensityWindow
from cobot.planes import acquired_plane
from cobot.training.evaluate_propagation import VolumeCase
from cobot.volume import Volume

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import bench_auto

sys.path.pop(0)

AFFINE = check_affine(np.diag([1.0, 1.0, 3.0, 1.0]))


def case(name: str, first: int) -> VolumeCase:
    """A box of 8 x 8 x 4 voxels that begins at `first` along i."""
    truth = np.zeros((20, 20, 10), np.uint8)
    truth[first : first + 8, 6:14, 3:7] = 4
    return VolumeCase(
        name, Volume(truth.astype(np.int16), AFFINE), truth, {4: "box"},
        {"box": IntensityWindow(0.0, 1.0)}, acquired_plane(AFFINE),
    )  # fmt: skip


def test_the_baseline_is_the_ellipsoid_in_the_mean_box():
    extents = list(bench_auto.organ_extents(iter([case("a", 4), case("b", 8)])))
    np.testing.assert_allclose(extents[0]["box"], [[0.2, 0.3, 0.3], [0.6, 0.7, 0.7]])
    found = bench_auto.mean_boxes(case("c", 6), extents)
    held = np.argwhere(found.mask("box"))
    assert (held.min(axis=0) >= [6, 6, 3]).all()
    assert (held.max(axis=0) <= [13, 13, 6]).all()
    share = found.mask("box").sum() / (8 * 8 * 4)
    assert share == pytest.approx(np.pi / 6, abs=0.12)


def test_means_are_over_cases_of_the_mean_over_seeds():
    dice = [
        {"alone": {"a": {"liver": 0.8, "spleen": 0.4}, "b": {"liver": 0.6}}},
        {"alone": {"a": {"liver": 0.6, "spleen": 0.2}, "b": {"liver": 0.4}}},
    ]
    assert bench_auto.by_case(dice, "alone", "liver") == pytest.approx([0.7, 0.5])
    assert bench_auto.by_case(dice, "alone", "spleen") == pytest.approx([0.3])
    assert bench_auto.by_case(dice, "alone", None) == pytest.approx([0.5, 0.5])
    assert bench_auto.spread([0.7, 0.5]) == "0.600 ± 0.100"


def test_the_same_cases_are_drawn_each_time():
    assert bench_auto.drawn(["a", "b", "c"], 0) == ["a", "b", "c"]
    assert len(bench_auto.drawn(list("abcdefgh"), 3)) == 3
    assert bench_auto.drawn(list("abcdefgh"), 3) == bench_auto.drawn(list("abcdefgh"), 3)
