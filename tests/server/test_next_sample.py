"""Two annotators at the real server, by MONAI Label's own client: who gets which study, and why."""

import json
import time
import urllib.error
import urllib.request

import nibabel as nib
import numpy as np
import pytest
from cobot.datasets.phantom import abdomen_phantom

# The client leaves the files it sends open.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

WAIT_S = 600
NAMES = ("case_1", "case_2", "case_3")


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    for name in NAMES:
        phantom = abdomen_phantom(int(name[-1]), (48, 44, 4), (8.0, 8.0, 30.0))
        nib.save(
            nib.Nifti1Image(phantom.volume.voxels, phantom.volume.affine),
            folder / f"{name}.nii.gz",
        )
    return folder


def status(server):
    with urllib.request.urlopen(f"{server.address}/scoring/", timeout=60) as answer:
        return json.loads(answer.read())


def wait_until_scored(server, count):
    deadline = time.monotonic() + WAIT_S
    while (found := status(server))["scored"] < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def test_the_story_of_two_annotators(studies, start_server, client_of, tmp_path):
    server = start_server(studies)
    ann, bob = client_of(server, "ann"), client_of(server, "bob")
    info = ann.info()["strategies"]
    assert list(info) == ["random", "hybrid", "uncertainty", "diversity", "first"]
    assert info["hybrid"]["config"] == {
        "lease_minutes": 60, "another": False, "signal": ["disagreement", "predicted_iou"],
        "label": "",
    }  # fmt: skip
    assert info["first"]["config"] == {"lease_minutes": 60, "another": False}

    found = wait_until_scored(server, 3)
    assert (found["images"], found["unreadable"], found["trouble"]) == (3, [], "")
    first = ann.next_sample("hybrid", dict(info["hybrid"]["config"]))
    second = bob.next_sample("hybrid", {})
    assert {first["id"], second["id"]} < set(NAMES)
    assert first["id"] != second["id"]
    assert "3 scored cases (3 are free)" in first["reason"]
    assert 0 <= first["uncertainty"] <= 1
    assert second["novelty"] > 0
    assert ann.next_sample("first", {})["id"] == first["id"]

    (left,) = set(NAMES) - {first["id"], second["id"]}
    assert bob.next_sample("random", {"another": True})["id"] == left
    from monailabel.client.client import MONAILabelClientException

    with pytest.raises(MONAILabelClientException) as refused:
        client_of(server, "cid").next_sample("hybrid", {})
    assert "Status: 409" in refused.value.msg
    assert "All 3 studies" in refused.value.msg

    image = nib.load(studies / f"{first['id']}.nii.gz")
    label = tmp_path / "label.nii.gz"
    nib.save(nib.Nifti1Image(np.ones(image.shape, np.uint8), image.affine), label)
    ann.save_label(first["id"], str(label), params={"label_info": [], "model": ""})
    with pytest.raises(MONAILabelClientException):
        ann.next_sample("hybrid", {})

    server.end()
    again = start_server(studies)
    wait_until_scored(again, 3)
    # Scores and leases are those from before: what bob has is his.
    with pytest.raises(MONAILabelClientException) as refused:
        client_of(again, "ann").next_sample("hybrid", {})
    assert "All 2 studies" in refused.value.msg
    assert client_of(again, "bob").next_sample("hybrid", {})["id"] in {second["id"], left}


def test_a_server_that_does_not_score_hands_out_by_name_and_says_so(
    studies, start_server, client_of, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("other")
    for name in NAMES:
        (folder / f"{name}.nii.gz").write_bytes((studies / f"{name}.nii.gz").read_bytes())
    server = start_server(folder, "--no-scoring")
    found = client_of(server).next_sample("hybrid", {})
    assert found["id"] == "case_1"
    assert "no free case has scores" in found["reason"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        status(server)
    assert refused.value.code == 404
    assert "--no-scoring" in refused.value.read().decode()
    refused.value.close()
    assert not (folder / ".cobot" / "scores").exists()
