"""What the crowd of scripts/bench_server_crowd.py asks, and when two answers are the same."""

import importlib
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
SHAPE = (48, 40, 12)


@pytest.fixture(scope="module")
def plan():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module("bench_crowd_plan")
    sys.modules.pop("bench_crowd_plan")


@pytest.fixture(scope="module")
def asked(plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    name, phantom = plan.write_study(folder, 2, SHAPE)
    assert nib.load(folder / f"{name}.nii.gz").shape == SHAPE
    return phantom, plan.session(name, phantom, ["segment_abdomen"])


def test_every_model_is_asked_and_every_positive_click_lies_on_its_structure(asked):
    phantom, requests = asked
    assert {one.model for one in requests} == {"sam_2d", "sam_3d", "sam_multi", "segment_abdomen"}
    assert [one.number for one in requests] == list(range(len(requests)))
    for one in requests:
        if one.model in ("sam_2d", "sam_3d"):
            truth = phantom.truth.mask(one.request["label"])
            assert all(truth[tuple(click)] for click in one.request.get("foreground", []))
    several = [one.request for one in requests if one.model == "sam_multi"]
    assert all(len(set(request) - {"label", "time_cap_s"}) >= 2 for request in several)


def test_answers_differ_by_a_voxel_or_a_word_and_not_by_times_or_caches(plan):
    voxels = np.zeros((3, 3, 2), np.uint8)
    voxels[0, 0] = 1
    told = {"notes": ["a"], "latencies": {"total": 1.0}, "slices_answered": 3}
    one = plan.Reply.of(voxels, told)
    assert np.array_equal(one.voxels, voxels)
    other = plan.Reply.of(voxels.copy(), {**told, "latencies": {}, "slices_answered": 0})
    assert one.difference(other) == ""
    assert one.difference(plan.Reply.of(voxels, {**told, "notes": []})).endswith("other words")
    changed = voxels.copy()
    changed[1, 1, 1] = 1
    assert one.difference(plan.Reply.of(changed, told)) == "1 voxels of 3"
    turned = plan.Reply.of(voxels.reshape(3, 2, 3), told)
    assert one.difference(turned) == "shape (3, 3, 2), not (3, 2, 3)"
