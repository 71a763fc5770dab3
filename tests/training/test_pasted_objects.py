"""Pasted objects: whole blobs on the body alone, and greys that change where they should."""

from unittest.mock import patch

import numpy as np
from cobot.training import pasted_objects
from cobot.training.pasted_objects import pasted_blobs, random_blob, recoloured
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

SEEDS = st.integers(0, 10_000)


def body_and_air() -> np.ndarray:
    unit = np.zeros((48, 64), np.float32)
    unit[8:40, 8:56] = 0.5
    return unit


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_a_blob_is_one_piece_on_the_body_or_nothing(seed):
    body = body_and_air() > 0
    blob = random_blob(body, np.random.default_rng(seed))
    assert not (blob & ~body).any()
    assert ndimage.label(blob)[1] <= 1


def test_no_body_no_blob():
    assert not random_blob(np.zeros((16, 16), bool), np.random.default_rng(0)).any()


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_blobs_differ_from_what_they_cover_and_air_stays_air(seed):
    unit = body_and_air()
    with patch.object(pasted_objects, "TEXTURED", 0.0):
        pasted = pasted_blobs(unit, np.random.default_rng(seed))
    assert (pasted.unit[unit == 0] == 0).all()
    assert pasted.unit.min() >= 0
    assert pasted.unit.max() <= 1
    assert not pasted.blobs[unit == 0].any()
    core = ndimage.binary_erosion(pasted.blobs == 1, iterations=4)
    if pasted.blobs.max() == 1:
        assert (abs(pasted.unit[core] - 0.5) > 0.02).all()


def test_most_pictures_get_a_blob():
    drawn = [
        pasted_blobs(body_and_air(), np.random.default_rng(seed)).blobs.any() for seed in range(50)
    ]
    assert np.mean(drawn) > 0.8


def test_large_blobs_are_as_usual_as_small_ones_and_some_have_a_pattern():
    body = np.full((96, 96), 0.5, np.float32)
    shares, grain = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        pasted = pasted_blobs(body, rng)
        blob = pasted.blobs == 1
        shares.append(blob.mean())
        core = ndimage.binary_erosion(blob, iterations=4) & (pasted.unit > 0.01) & (pasted.unit < 1)
        if core.sum() > 200 and pasted.blobs.max() == 1:
            grain.append(pasted.unit[core].std())
    assert np.mean(np.array(shares) > 0.2) > 0.12
    assert np.mean(np.array(shares) < 0.02) > 0.2
    assert 0.15 < np.mean(np.array(grain) > 0.01) < 0.7


def test_recolouring_changes_objects_and_leaves_the_rest():
    unit, objects = body_and_air(), np.zeros((48, 64), np.uint8)
    objects[12:20, 12:20], objects[24:36, 30:50] = 1, 2
    far = ndimage.distance_transform_edt(objects == 0) > 6
    changed = []
    for seed in range(30):
        after = recoloured(unit, objects, np.random.default_rng(seed))
        assert (after[far] == unit[far]).all()
        changed += [not np.isclose(after[16, 16], 0.5), not np.isclose(after[30, 40], 0.5)]
        assert (after[unit == 0] == 0).all()
    assert 0.4 < np.mean(changed) < 0.8
