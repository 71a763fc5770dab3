"""The bank of pretraining pictures: cropped to the body, kept whole, the same after saving."""

import numpy as np
import pytest
from cobot.errors import ConfigError
from cobot.training.augment import PictureRule, training_picture
from cobot.training.slice_bank import (
    CANVAS_PX,
    RawPicture,
    SliceBank,
    build_bank,
    random_picture,
)
from cobot.volume import Volume


def body_picture() -> RawPicture:
    """Air around 60 x 80 pixels of muscle that hold a 20 x 20 organ."""
    pixels_hu = np.full((100, 120), -1000.0)
    pixels_hu[20:80, 10:90] = 40
    organs = np.zeros((100, 120), np.uint8)
    organs[40:60, 30:50] = 3
    pixels_hu[40:60, 30:50] = 180
    return RawPicture(pixels_hu, organs, (2.0, 1.0))


@pytest.fixture
def bank() -> SliceBank:
    return build_bank([body_picture()] * 3, np.random.default_rng(0))


def test_pictures_are_cropped_to_the_body_with_a_margin(bank):
    assert bank.size_px.tolist() == [[64, 84]] * 3
    assert bank.pixels_hu.shape == (3, CANVAS_PX, CANVAS_PX)
    assert bank.pixels_hu[0, 2, 2] == 40
    assert bank.pixels_hu[0, 1, 1] == -1000


def test_the_organ_keeps_its_pixels_and_number(bank):
    organ = bank.layers[0, 0] == 3
    assert organ.sum() == 400
    assert (bank.pixels_hu[0][organ] == 180).all()


def test_regions_of_one_grey_become_objects(bank):
    organ = bank.layers[0, 0] == 3
    region = bank.layers[0, 1][organ]
    assert np.bincount(region).max() > 300
    assert np.bincount(region).argmax() > 0


def test_air_alone_is_no_picture():
    empty = RawPicture(np.full((50, 50), -1000.0), np.zeros((50, 50), np.uint8), (1.0, 1.0))
    with pytest.raises(ConfigError, match="No slice holds a body"):
        build_bank([empty], np.random.default_rng(0))


def test_a_saved_bank_is_read_back_equal(bank, tmp_path):
    bank.save(tmp_path / "bank.npz")
    assert SliceBank.load(tmp_path / "bank.npz").sha256() == bank.sha256()
    assert [path.name for path in tmp_path.iterdir()] == ["bank.npz"]


def test_a_training_picture_is_unit_ranged_and_empty_where_padded(bank):
    for seed in range(20):
        drawn = training_picture(bank, 0, PictureRule(64, 0.5), np.random.default_rng(seed))
        assert drawn.unit.shape == (64, 64)
        assert 0 <= drawn.unit.min() <= drawn.unit.max() <= 1
        rows, cols = drawn.content_px
        assert not drawn.layers[:, rows:].any()
        assert not drawn.layers[:, :, cols:].any()


def test_the_same_seed_draws_the_same_picture(bank):
    first, again = (
        training_picture(bank, 1, PictureRule(64, 0.5), np.random.default_rng(7)) for _ in range(2)
    )
    assert np.array_equal(first.unit, again.unit)
    assert np.array_equal(first.layers, again.layers)


def organ_sizes(bank: SliceBank, freedom: float) -> np.ndarray:
    """Rows and cols that the organ spans in 60 frames; it always has a pixel there."""
    rule, spans = PictureRule(84, 0.0, freedom), []
    for seed in range(60):
        organ = training_picture(bank, 0, rule, np.random.default_rng(seed)).layers[0] == 3
        spans.append([np.ptp(np.flatnonzero(organ.any(axis))) + 1 for axis in (1, 0)])
    return np.array(spans)


def test_without_freedom_a_picture_fills_the_frame_upright_as_at_inference(bank):
    # 84 px show 128 mm of rows (64 of 2 mm): the organ's 40 mm are 26 px, its 20 mm are 13 px.
    bound, free = organ_sizes(bank, 0.0), organ_sizes(bank, 1.0)
    assert (abs(bound / [26.25, 13.1] - 1) < 0.35).all()
    assert free[:, 0].max() > 1.6 * bound[:, 0].max()


def test_slices_are_mostly_axial_and_mostly_hold_an_organ():
    voxels = np.zeros((10, 11, 12))
    labels = np.zeros((10, 11, 12), np.uint8)
    labels[5, 5, 5] = 1
    volume, marked = (Volume(one, np.diag([-1.0, -1, 1, 1])) for one in (voxels, labels))
    rng = np.random.default_rng(0)
    drawn = [random_picture(volume, marked, rng) for _ in range(400)]
    axial = [one.pixels_hu.size == 110 for one in drawn]
    assert 0.72 < np.mean(axial) < 0.88
    assert 0.75 < np.mean([one.organs.any() for one in drawn]) < 0.92
