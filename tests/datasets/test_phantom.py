"""The abdomen phantom: same seed same patient, right HU, every organ where it belongs."""

import numpy as np
import pytest
from cobot.datasets.phantom import ABDOMEN_LABELS, abdomen_phantom, random_abdomen_slice
from cobot.geometry import acquired_axis, axis_codes, ras_from_ijk

SMALL = {"shape": (80, 68, 22), "spacing_mm": (4.8, 4.8, 7.3)}
ORGANS = ("liver", "spleen", "right kidney", "left kidney", "spine")
MEDIAN_HU = {
    "liver": (15, 150), "spleen": (35, 175), "right kidney": (20, 240), "left kidney": (20, 240),
    "spine": (60, 450), "aorta": (30, 420),
}  # fmt: skip


@pytest.fixture(scope="module", params=[0, 1, 2, 3])
def phantom(request):
    return abdomen_phantom(request.param, **SMALL)


def centre_mm(phantom, name):
    return ras_from_ijk(phantom.truth.affine, np.argwhere(phantom.truth.mask(name))).mean(axis=0)


def test_same_seed_gives_the_same_bytes_and_another_does_not():
    first, again, other = (abdomen_phantom(seed, **SMALL) for seed in (5, 5, 6))
    assert first.volume.voxels.tobytes() == again.volume.voxels.tobytes()
    assert first.truth.voxels.tobytes() == again.truth.voxels.tobytes()
    assert not np.array_equal(first.truth.voxels, other.truth.voxels)


def test_image_and_truth_share_an_oblique_anisotropic_lps_grid(phantom):
    phantom.truth.require_same_grid(phantom.volume)
    affine = phantom.volume.affine
    assert axis_codes(affine) == "LPS"
    assert acquired_axis(affine) == 2
    assert phantom.volume.spacing_mm == pytest.approx(SMALL["spacing_mm"])
    directions = affine[:3, :3] / SMALL["spacing_mm"]
    assert np.abs(directions).max(axis=0).max() < 0.9999
    assert np.allclose(directions.T @ directions, np.eye(3))


def test_values_are_hounsfield_units(phantom):
    voxels = phantom.volume.voxels
    assert voxels.dtype == np.int16
    assert voxels.min() >= -1024
    corner = voxels[:3, :3]
    assert np.median(corner) == pytest.approx(-1000, abs=5)
    for name, (low, high) in MEDIAN_HU.items():
        assert low < np.median(voxels[phantom.truth.mask(name)]) < high, name


def test_every_organ_is_there_with_a_plausible_volume(phantom):
    voxel_ml = np.prod(SMALL["spacing_mm"]) / 1000
    volume_ml = {name: phantom.truth.mask(name).sum() * voxel_ml for name in ORGANS}
    assert all(volume_ml[name] > 40 for name in ORGANS), volume_ml
    assert volume_ml["liver"] > 600
    assert set(np.unique(phantom.truth.voxels)) <= {0, *ABDOMEN_LABELS}


def test_left_is_left_and_front_is_front(phantom):
    right, back, _ = centre_mm(phantom, "liver") - centre_mm(phantom, "spine")
    assert right > 30
    assert back > 10
    assert centre_mm(phantom, "right kidney")[0] > 20 > -20 > centre_mm(phantom, "left kidney")[0]
    assert centre_mm(phantom, "spleen")[0] < centre_mm(phantom, "aorta")[0]


def test_the_same_patient_on_a_straight_grid_is_the_same_patient():
    tilted = abdomen_phantom(1, **SMALL)
    straight = abdomen_phantom(1, **SMALL, oblique_degrees=0.0)
    assert np.count_nonzero(straight.volume.affine[:3, :3]) == 3
    distance = centre_mm(tilted, "aorta") - centre_mm(straight, "aorta")
    assert np.abs(distance)[:2].max() < 12


def test_a_random_slice_is_hu_and_labels_of_one_plane():
    pixels, labels = random_abdomen_slice(np.random.default_rng(3), side_px=96)
    again, _ = random_abdomen_slice(np.random.default_rng(3), side_px=96)
    assert pixels.shape == labels.shape == (96, 96)
    assert pixels.dtype == np.float32
    assert labels.dtype == np.uint8
    assert labels.any()
    assert np.array_equal(pixels, again)
