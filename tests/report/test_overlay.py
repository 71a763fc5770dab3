"""The picture of a segmentation: which slices, what is drawn, nothing half-written."""

import matplotlib.image
import numpy as np
import pytest
from cobot.errors import ImageWriteError
from cobot.intensity import IntensityWindow
from cobot.planes import plane_across
from cobot.prompts import ObjectPrompts, VolumePrompts
from cobot.report.overlay import Overlay, telling_slices, write_overlay
from cobot.volume import LabelMap, Volume


@pytest.fixture
def overlay():
    voxels = np.full((48, 40, 12), -1000, np.int16)
    voxels[4:44, 4:36] = 40
    answer = np.zeros(voxels.shape, np.uint8)
    answer[10:20, 10:20, 2:10] = 1
    answer[25:35, 10:20, 5:7] = 2
    affine = np.diag([-2.0, -4.0, 6.0, 1.0])
    labels = {1: "liver", 2: "spleen"}
    box = np.array([[10, 10, 2], [19, 19, 9]])
    return Overlay(
        volume=Volume(voxels, affine),
        window=IntensityWindow(-160, 240),
        prompts=VolumePrompts(plane_across(affine, 2), (ObjectPrompts("liver", box_ijk=box),)),
        answer=LabelMap(answer, affine, labels),
        truth=LabelMap(np.roll(answer, 1, axis=0), affine, labels),
        title="phantom",
        note="not for clinical use",
    )


def with_answer(overlay, voxels):
    return Overlay(
        overlay.volume, overlay.window, overlay.prompts,
        LabelMap(voxels, overlay.answer.affine, overlay.answer.labels), None, "", "",
    )  # fmt: skip


def test_slices_are_spread_and_show_most_structures(overlay):
    assert telling_slices(overlay, 3) == [3, 6, 8]
    assert telling_slices(overlay, 1) == [5]


def test_no_more_slices_than_hold_something(overlay):
    only = np.zeros_like(overlay.answer.voxels)
    only[5:9, 5:9, 4] = 1
    assert telling_slices(with_answer(overlay, only), 4) == [4]


def test_an_empty_answer_shows_the_middle(overlay):
    assert telling_slices(with_answer(overlay, np.zeros_like(overlay.answer.voxels)), 4) == [6]


def test_the_picture_shows_masks_in_colour_on_grey(overlay, tmp_path):
    path = tmp_path / "overlay.png"
    write_overlay(overlay, path)
    picture = matplotlib.image.imread(path)[..., :3]
    height = len(picture)
    colour = np.ptp(picture, axis=2) > 0.25
    assert colour[: height // 2].any()
    assert colour[height // 2 :].mean() > 3 * colour[: height // 2].mean()
    assert [found.name for found in tmp_path.iterdir()] == ["overlay.png"]


def test_a_missing_folder_is_refused_and_leaves_nothing(overlay, tmp_path):
    with pytest.raises(ImageWriteError, match="could not be written"):
        write_overlay(overlay, tmp_path / "missing" / "overlay.png")
    assert not list(tmp_path.iterdir())
