"""The head-and-neck phantom: every organ, its HU, its side."""

import numpy as np
import pytest
from cobot.datasets.phantom_head_neck import (
    HEAD_NECK_LABELS,
    head_neck_phantom,
    random_head_neck_slice,
)
from cobot.geometry import ras_from_ijk

SMALL = {"shape": (72, 72, 50), "spacing_mm": (4.0, 4.0, 5.0)}


@pytest.fixture(scope="module", params=[0, 1])
def phantom(request):
    return head_neck_phantom(request.param, **SMALL)


def place(phantom, name):
    return ras_from_ijk(phantom.truth.affine, np.argwhere(phantom.truth.mask(name))).mean(axis=0)


def test_same_seed_gives_the_same_bytes():
    first, again, other = (head_neck_phantom(seed, **SMALL) for seed in (4, 4, 5))
    assert first.volume.voxels.tobytes() == again.volume.voxels.tobytes()
    assert not np.array_equal(first.volume.voxels, other.volume.voxels)


def test_every_organ_is_there(phantom):
    assert set(np.unique(phantom.truth.voxels)) == {0, *HEAD_NECK_LABELS}


def test_bone_is_bright_and_brain_is_grey(phantom):
    voxels = phantom.volume.voxels
    assert np.median(voxels[phantom.truth.mask("mandible")]) > 350
    assert 15 < np.median(voxels[phantom.truth.mask("brainstem")]) < 60
    assert 20 < np.median(voxels[phantom.truth.mask("brain")]) < 60


def test_organs_lie_where_they_belong(phantom):
    assert place(phantom, "right parotid")[0] > 20 > -20 > place(phantom, "left parotid")[0]
    assert place(phantom, "mandible")[1] > place(phantom, "spinal cord")[1] + 30
    assert place(phantom, "brain")[2] > place(phantom, "larynx")[2] > place(phantom, "esophagus")[2]


def test_a_random_slice_is_hu_and_labels_of_one_plane():
    pixels, labels = random_head_neck_slice(np.random.default_rng(2), side_px=64)
    assert pixels.shape == labels.shape == (64, 64)
    assert pixels.max() > 100
