"""Which slices are trained on, and how they are kept."""

from dataclasses import replace

import numpy as np
import pytest
from cobot.errors import ConfigError
from cobot.planes import plane_across
from cobot.training.corrections import Correction, find_corrections
from cobot.training.slice_cache import SliceCache
from cobot.training.slice_choice import choose_slices
from cobot.training.slice_dataset import SliceDataset
from cobot.training.task import TrainingTask, parse_labels

LABELS = {1: "ball", 2: "rod"}
TASK = TrainingTask("discs", LABELS, cut="k").shown_in("-200,300")
PLANE = plane_across(np.eye(4), 2)


def labels(*slices: tuple[int, int]) -> np.ndarray:
    """8 x 8 x 10 with a square of a value on a slice, for each (slice, value)."""
    voxels = np.zeros((8, 8, 10), np.uint8)
    for index, value in slices:
        voxels[2 * value : 2 * value + 2, 3:6, index] = value
    return voxels


def test_only_slices_that_carry_or_lost_a_label():
    truth, prediction = labels((2, 1), (3, 2)), labels((2, 2), (5, 1), (3, 2))
    chosen = choose_slices(truth, prediction, PLANE, 0.0)
    assert [(one.index, one.present) for one in chosen] == [(2, (1,)), (3, (2,)), (5, ())]
    assert [[gone.value for gone in one.absent] for one in chosen] == [[2], [], [1]]


def test_without_a_prediction_nothing_is_lost():
    chosen = choose_slices(labels((2, 1)), None, PLANE, 0.0)
    assert [(one.index, one.absent) for one in chosen] == [(2, ())]


@pytest.mark.parametrize(("ratio", "negatives"), [(0.0, 0), (0.5, 1), (2.0, 4), (100.0, 8)])
def test_empty_slices_at_the_stated_ratio(ratio, negatives):
    chosen = choose_slices(labels((4, 1), (5, 1)), None, PLANE, ratio)
    empty = [one for one in chosen if not one.present]
    assert len(empty) == negatives
    assert len({one.index for one in chosen}) == len(chosen)
    for one in empty:
        assert [gone.value for gone in one.absent] == [1]


def test_an_empty_slice_is_asked_for_its_neighbours_box():
    (_, negative) = choose_slices(labels((0, 1)), None, PLANE, 1.0)
    picture = PLANE.picture(labels((0, 1)), 0) == 1
    rows, cols = np.nonzero(picture)
    assert negative.absent[0].box_xyxy == (cols.min(), rows.min(), cols.max(), rows.max())


@pytest.fixture
def corrections(data):
    return find_corrections(data)


def test_cached_slices_are_the_volumes(tmp_path, corrections):
    from cobot.io import read_label_map, read_volume

    cache = SliceCache(tmp_path / "cache", TASK)
    index = cache.index(corrections[0])
    assert [one.index for one in index.slices] == [1, 2, 3]
    volume, truth = read_volume(corrections[0].image), read_label_map(corrections[0].corrected)
    for rank, one in enumerate(index.slices):
        pixels, values = cache.pictures(corrections[0], rank)
        assert np.array_equal(pixels, index.plane.picture(volume.voxels, one.index))
        assert np.array_equal(values, index.plane.picture(truth.voxels, one.index))


def test_a_case_is_decoded_once(tmp_path, corrections, monkeypatch):
    SliceCache(tmp_path / "cache", TASK).index(corrections[0])
    monkeypatch.setattr("cobot.training.slice_cache.read_volume", None)
    assert SliceCache(tmp_path / "cache", TASK).index(corrections[0]).case == "image_0"


def test_the_limit_is_kept_and_costs_no_result(tmp_path, corrections):
    cache = SliceCache(tmp_path / "cache", TASK, limit_bytes=1)
    want = SliceCache(tmp_path / "all", TASK)
    for correction in (*corrections, *corrections):
        assert cache.index(correction) == want.index(correction)
        for ours, theirs in zip(
            cache.pictures(correction, 1), want.pictures(correction, 1), strict=True
        ):
            assert np.array_equal(ours, theirs)
        assert len(list((tmp_path / "cache").iterdir())) == 1
    assert len(list((tmp_path / "all").iterdir())) == 3


@pytest.mark.parametrize("lost", ["case.json", "pixels.npy", "labels.npy"])
def test_a_case_of_which_half_was_removed_is_decoded_anew(tmp_path, corrections, lost):
    index = SliceCache(tmp_path / "cache", TASK).index(corrections[0])
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / lost).unlink()
    (tmp_path / "cache" / ".gone-cut-off").mkdir()
    again = SliceCache(tmp_path / "cache", TASK)
    assert again.index(corrections[0]) == index
    assert again.pictures(corrections[0], 0)[1].any()
    assert list((tmp_path / "cache").iterdir()) == [folder]


def test_a_label_stored_in_another_direction_teaches_the_same(tmp_path, corrections):
    from cobot.io import read_label_map, write_label_map

    straight = read_label_map(corrections[0].corrected)
    turned = straight.turned_onto(straight.affine @ np.diag([-1, 1, -1, 1]))
    write_label_map(turned, tmp_path / "l.nii.gz")
    other = replace(corrections[0], corrected=tmp_path / "l.nii.gz")
    cache = SliceCache(tmp_path / "c", TASK)
    index = SliceCache(tmp_path / "d", TASK).index(corrections[0])
    assert cache.index(other) == index
    for rank, one in enumerate(index.slices):
        ours, theirs = cache.pictures(other, rank), cache.pictures(corrections[0], rank)
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
        assert ours[1].any() == bool(one.present)


def test_labels_of_another_grid_and_windows_that_do_not_fit_name_the_case(tmp_path, corrections):
    from cobot.errors import GridMismatchError, WindowError
    from cobot.io import write_label_map
    from cobot.volume import LabelMap

    write_label_map(
        LabelMap(np.ones((40, 36, 6), np.uint8), np.eye(4), LABELS), tmp_path / "l.nii.gz"
    )
    moved = replace(corrections[0], corrected=tmp_path / "l.nii.gz")
    with pytest.raises(GridMismatchError, match="Case 'image_0': .* not on the image's grid"):
        SliceCache(tmp_path / "c", TASK).index(moved)
    black = tmp_path / "image_black.nii.gz"
    write_label_map(LabelMap(np.zeros((40, 36, 6), np.uint8), np.diag([3.0, 3, 6, 1]), {}), black)
    with pytest.raises(WindowError, match="Case 'image_black': The volume has no value above 0"):
        SliceCache(tmp_path / "c", TASK.shown_in("mr")).index(replace(corrections[0], image=black))


def test_another_label_is_another_case(tmp_path, corrections):
    cache = SliceCache(tmp_path / "cache", TASK)
    cache.index(corrections[0])
    relabelled = replace(corrections[0], corrected=corrections[1].corrected)
    assert not np.array_equal(
        cache.pictures(corrections[0], 1)[1], cache.pictures(relabelled, 1)[1]
    )


def dataset(tmp_path, corrections, task=TASK) -> SliceDataset:
    return SliceDataset(SliceCache(tmp_path / "c", task), corrections, task.window_groups())


def test_every_sample_comes_once_an_epoch_and_fills_the_last_batch(tmp_path, corrections):
    found = dataset(tmp_path, corrections)
    assert len(found) == 9
    order = found.epoch_order(0, 0, 4)
    assert sorted(order[:9]) == list(range(9))
    assert order[9:] == order[:3]
    assert order == found.epoch_order(0, 0, 4)
    assert order != found.epoch_order(0, 1, 4)
    assert len(found.epoch_order(0, 0, 25)) == 25


def test_a_slice_is_shown_once_for_each_window(tmp_path, corrections):
    other = TrainingTask("discs", LABELS, cut="k").shown_in("0,50").windows["rod"]
    task = replace(TASK, windows={**TASK.windows, "rod": other})
    found = dataset(tmp_path, corrections[:1], task)
    shown = [(one.slice_.index, one.window.upper, [o.value for o in one.objects])
             for one in map(found.read, found.samples)]  # fmt: skip
    assert shown == [(1, 300, [1]), (2, 300, [1]), (2, 50, [2]), (3, 300, [1])]


def test_labels_that_no_case_has_are_refused(tmp_path, corrections, data):
    from cobot.io import write_label_map
    from cobot.volume import LabelMap

    empty = LabelMap(np.zeros((40, 36, 6), np.uint8), np.diag([3.0, 3, 6, 1]), {})
    write_label_map(empty, tmp_path / "label.nii.gz")
    bare = Correction(corrections[0].image, tmp_path / "label.nii.gz")
    with pytest.raises(ConfigError, match="None of 1 labelled volumes has a voxel"):
        dataset(tmp_path, [bare])


def test_tasks_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="each value and each name once"):
        TrainingTask("t", {1: "a", 2: "a"})
    with pytest.raises(ConfigError, match="Unknown plane 'x'"):
        TrainingTask("t", {1: "a"}, cut="x")
    with pytest.raises(ConfigError, match=r"Windows are given for \['ball', 'rod'\]"):
        TrainingTask("t", {1: "a"}, TASK.windows)
    with pytest.raises(ConfigError, match="cannot be read"):
        parse_labels("liver")
    for text in ("1=liver,1=spleen", "1=", ""):
        with pytest.raises(ConfigError, match="give each value once, and its name"):
            parse_labels(text)


def test_planes_by_name_follow_the_patient():
    affine = np.array([[0, 0, 2.0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    cut = {name: TrainingTask("t", {1: "a"}, cut=name).plane(affine).axis
           for name in ("sagittal", "coronal", "axial", "acquired", "i")}  # fmt: skip
    assert cut == {"sagittal": 2, "coronal": 0, "axial": 1, "acquired": 2, "i": 0}
