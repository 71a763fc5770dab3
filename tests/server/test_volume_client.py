"""`sam_3d` and `sam_multi` by the real server process, asked by MONAI Label's own client."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from cobot.datasets.phantom import abdomen_phantom
from cobot.server.predictions import PredictionStore

# The client leaves the files it sends open.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SHAPE = (96, 80, 16)
ALWAYS = {"result_extension": ".nrrd", "result_dtype": "uint8", "window": "auto"}
UNHURRIED = {"time_cap_s": 600}
"""However slow the machine, an answer is cut short only where a test says so."""


@dataclass
class Study:
    """A phantom on disk, and for two organs a voxel in the middle and a box on its slice."""

    file: Path
    clicks: dict[str, list[int]]
    rois: dict[str, list[int]]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    phantom = abdomen_phantom(3, SHAPE, (4.0, 4.0, 10.0))
    file = tmp_path_factory.mktemp("studies") / "phantom.nii.gz"
    nib.save(nib.Nifti1Image(phantom.volume.voxels, phantom.volume.affine), file)
    clicks, rois = {}, {}
    for name in ("spleen", "liver"):
        truth = phantom.truth.mask(name)
        k = int(truth.sum(axis=(0, 1)).argmax())
        inside = np.argwhere(truth[:, :, k])
        centre = inside[np.abs(inside - inside.mean(axis=0)).sum(axis=1).argmin()]
        clicks[name] = [*centre.tolist(), k]
        (i0, j0), (i1, j1) = inside.min(axis=0).tolist(), inside.max(axis=0).tolist()
        rois[name] = [i1, i0, j1, j0, k, k]
    return Study(file, clicks, rois)


@pytest.fixture(scope="module")
def server(study, start_server):
    return start_server(study.file.parent, "--labels", "spleen,liver", "--no-scoring")


@pytest.fixture(scope="module")
def client(server, client_of):
    return client_of(server)


def ask(client, model: str, **request: Any) -> tuple[np.ndarray, dict[str, Any], str]:
    """The answer as i j k, what is told of it, and its file."""
    file, told = client.infer(model, "phantom", {**ALWAYS, **UNHURRIED, **request})
    return sitk.GetArrayFromImage(sitk.ReadImage(file)).T, told, file


def test_slicer_learns_what_it_needs_of_both_models(client):
    info = client.info()
    one, several = info["models"]["sam_3d"], info["models"]["sam_multi"]
    assert (one["type"], one["dimension"], one["labels"]) == ("deepgrow", 3, [])
    assert (several["type"], several["dimension"]) == ("deepedit", 3)
    assert several["labels"], "else Slicer does not send the clicks of every segment"
    assert not set(several["labels"]) & set(info["labels"]), "else Slicer runs it unasked"
    assert one["config"]["time_cap_s"] == several["config"]["time_cap_s"] == 20


def test_one_click_brings_the_structure_on_the_grid_and_says_how_sure_it_is(client, study):
    click = study.clicks["liver"]
    asked = {"label": "liver", "foreground": [click], "background": [], "roi": study.rois["liver"]}
    mask, told, file = ask(client, "sam_3d", **asked)
    answer, image = sitk.ReadImage(file), sitk.ReadImage(str(study.file))
    assert answer.GetSize() == image.GetSize()
    assert np.allclose(answer.GetOrigin(), image.GetOrigin(), atol=1e-3)
    assert np.allclose(answer.GetDirection(), image.GetDirection(), atol=1e-5)
    assert (mask.shape, mask.dtype, set(np.unique(mask))) == (SHAPE, np.uint8, {0, 1})
    slices = mask.any(axis=(0, 1)).nonzero()[0].tolist()
    assert min(slices) < click[2] < max(slices), "both ways"
    liver = told["structures"]["liver"]
    assert sorted(map(int, liver["confidence"])) == slices
    assert all(0 <= value <= 1 for value in liver["confidence"].values())
    assert liver["least_certain_slice"] in slices
    assert told["least_certain"]["label"] == "liver"
    assert told["least_certain"]["slice"] == liver["least_certain_slice"]
    assert liver["prompted_slices"] == [click[2]]
    assert [end["direction"] for end in liver["ends"]] == [-1, 1]
    assert all(end["text"].startswith(f"From slice {click[2]} ") for end in liver["ends"])
    assert told["label_names"] == {"liver": 1}
    assert told["adapter"] == "none"
    assert told["precision"] in ("fp32", "bf16")
    assert "clinical" in told["disclaimer"]
    assert told["notes"] == []
    assert set(told["latencies"]) == {
        *("read", "window", "model", "encode", "decode", "follow", "merge", "write", "keep"),
        "total",
    }


def test_a_deleted_click_is_gone_and_what_is_known_is_not_asked_again(client, study):
    asked = {"label": "spleen", "roi": study.rois["spleen"]}
    before, first, _ = ask(client, "sam_3d", **asked)
    far = min(map(int, first["structures"]["spleen"]["confidence"]))
    away = [*study.clicks["spleen"][:2], far]
    _, clicked, _ = ask(client, "sam_3d", **asked, background=[away])
    assert clicked["slices_encoded"] == 0
    assert 1 <= clicked["slices_answered"] < first["slices_answered"]
    after, last, _ = ask(client, "sam_3d", **asked)
    assert last["slices_answered"] == 0
    assert after.tobytes() == before.tobytes()
    assert last["structures"] == first["structures"]


def test_several_structures_come_in_one_map(client, study):
    asked = {name: [click] for name, click in study.clicks.items()}
    map_, told, _ = ask(client, "sam_multi", **asked, label="liver")
    assert map_.shape == SHAPE
    assert told["label_names"] == {"spleen": 1, "liver": 2}
    assert set(np.unique(map_)) == {0, 1, 2}
    assert map_[tuple(study.clicks["spleen"])] == 1
    assert map_[tuple(study.clicks["liver"])] == 2
    assert set(told["structures"]) == {"spleen", "liver"}
    _, again, _ = ask(client, "sam_multi", spleen=asked["spleen"], liver=[])
    assert again["slices_answered"] == 0
    assert again["label_names"] == {"spleen": 1}


def test_what_was_answered_is_kept_for_training(client, server, study):
    asked = {name: [click] for name, click in study.clicks.items()}
    map_, _, _ = ask(client, "sam_multi", **asked)
    kept = PredictionStore(server.studies / ".cobot" / "predictions").of("phantom")
    for value, name in ((1, "spleen"), (2, "liver")):
        given = {one.slice_k: one.mask for one in kept if one.label == name}
        assert sorted(given) == (map_ == value).any(axis=(0, 1)).nonzero()[0].tolist()
        assert all((mask == (map_[:, :, k] == value)).all() for k, mask in given.items())


@pytest.mark.parametrize(
    ("model", "request_", "message"),
    [
        ("sam_3d", {"label": "liver"}, "place one foreground click on 'liver'"),
        ("sam_3d", {"background": [[1, 1, 1]]}, "Only background points"),
        ("sam_3d", {"foreground": [[999, 1, 1]]}, "lies outside the image"),
        ("sam_3d", {"foreground": [[1, 1, 1]], "time_cap_s": 0}, "time_cap_s is not usable"),
        ("sam_multi", {"spleen": [], "liver": []}, "at least one of spleen, liver"),
        ("sam_multi", {"tumour": [[1, 1, 1]]}, "'tumour' is none of this server's labels"),
        ("sam_multi", {"liver": [[1, 1, 99]]}, "lies outside the image"),
        ("sam_multi", {"liver": [[1, 1, 1]], "time_cap_s": -1}, "time_cap_s is not usable"),
    ],
)
def test_bad_requests_reach_the_user_as_422_with_the_cure(client, model, request_, message):
    from monailabel.client.client import MONAILabelClientException

    with pytest.raises(MONAILabelClientException) as refused:
        ask(client, model, **request_)
    assert "Status: 422" in refused.value.msg
    assert message in refused.value.msg


def test_time_that_is_up_is_said_and_asking_again_goes_on(client, study):
    asked = {"label": "liver", "foreground": [study.clicks["liver"]], "window": "spleen"}
    mask, told, _ = ask(client, "sam_3d", **asked, time_cap_s=1e-6)
    assert mask.any(axis=(0, 1)).nonzero()[0].tolist() == [study.clicks["liver"][2]]
    assert told["notes"][0].startswith("Not finished: 2 of 2 walks were stopped by time_cap_s")
    whole, told, _ = ask(client, "sam_3d", **asked)
    assert whole.any(axis=(0, 1)).sum() > 1
    assert told["notes"] == []
