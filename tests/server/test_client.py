"""The real server process, driven by MONAI Label's own client as 3D Slicer drives it."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from cobot.datasets.phantom import abdomen_phantom

# The client leaves the files it sends open.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LABEL_INFO = [{"name": "spleen", "idx": 2}, {"name": "liver", "idx": 3}]


@dataclass
class Study:
    """A phantom, and a voxel in the middle of its spleen on that slice."""

    file: Path
    shape: tuple[int, int, int]
    spleen: np.ndarray
    click: list[int]
    roi: list[int]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    phantom = abdomen_phantom(3)
    folder = tmp_path_factory.mktemp("studies")
    file = folder / "phantom_3.nii.gz"
    nib.save(nib.Nifti1Image(phantom.volume.voxels, phantom.volume.affine), file)
    nib.save(nib.load(file), folder / "other (2).nii.gz")
    spleen = phantom.truth.mask("spleen")
    k = int(spleen.sum(axis=(0, 1)).argmax())
    inside = np.argwhere(spleen[:, :, k])
    centre = inside[np.abs(inside - inside.mean(axis=0)).sum(axis=1).argmin()]
    (i0, j0), (i1, j1) = inside.min(axis=0), inside.max(axis=0)
    return Study(
        file, spleen.shape, spleen, [*centre.tolist(), k], [*map(int, (i1, i0, j1, j0)), k + 1, k]
    )


@pytest.fixture(scope="module")
def server(study, start_server):
    return start_server(study.file.parent, "--labels", "spleen,liver")


@pytest.fixture(scope="module")
def client(server, client_of):
    return client_of(server)


def ask(client, study: Study, **request: Any) -> tuple[str, dict[str, Any]]:
    """Slicer's request: what is given, and what Slicer always adds."""
    always = {"label": "spleen", "result_extension": ".nrrd", "result_dtype": "uint8"}
    shown = {"slice": study.click[2], "window": "auto", "reset_state": True}
    return client.infer("sam_2d", "phantom_3", {**always, **shown, **request})


def voxels(file: str) -> np.ndarray:
    """The answer as i j k."""
    if file.endswith(".nrrd"):
        return sitk.GetArrayFromImage(sitk.ReadImage(file)).T
    return np.asanyarray(nib.load(file).dataobj)


def check_support(mask: np.ndarray, study: Study, least_dice: float = 0.3) -> np.ndarray:
    """On the grid, uint8, 0 or 1, the clicked voxel in, nothing off the slice; return the slice.

    A lone click may mean a part or the whole of the organ, so little is asked of its Dice.
    """
    k = study.click[2]
    assert mask.shape == study.shape
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 1}
    assert not np.delete(mask, k, axis=2).any()
    assert mask[tuple(study.click)] == 1
    truth = study.spleen[:, :, k]
    overlap = 2 * (truth & (mask[:, :, k] > 0)).sum() / (truth.sum() + mask[:, :, k].sum())
    assert overlap > least_dice
    return mask[:, :, k]


def test_info_is_what_slicer_needs(client):
    info = client.info()
    assert info["labels"] == ["spleen", "liver"]
    assert "config" not in info
    model = info["models"]["sam_2d"]
    assert (model["type"], model["dimension"], model["labels"]) == ("deepgrow", 2, [])
    assert model["config"]["window"][0] == "auto"
    assert "spleen" in model["config"]["window"]
    assert list(info["strategies"])[0] == "random"
    assert set(info["strategies"]) == {"hybrid", "uncertainty", "diversity", "random", "first"}
    assert info["scoring"] == {}
    assert info["datastore"]["total"] >= 2


def test_next_sample_gives_an_image_slicer_can_open(client, study):
    sample = client.next_sample("first", {})
    assert sample["id"] == "other (2)"
    assert Path(sample["path"]) == study.file.with_name("other (2).nii.gz").resolve()


def test_a_click_brings_a_mask_on_its_slice_and_the_next_one_is_cached(client, study):
    file, first = ask(client, study, foreground=[study.click], background=[])
    check_support(voxels(file), study)
    assert first["label_names"] == {"spleen": 1}
    assert first["slice"] == study.click[2]
    assert "clinical" in first["disclaimer"]
    assert first["precision"] in ("fp32", "bf16")
    beside = [study.click[0] + 1, *study.click[1:]]
    _, second = ask(client, study, foreground=[study.click, beside])
    assert second["encoder_cached"]
    assert second["latencies"]["encode"] == 0


def test_an_nrrd_answer_lies_on_the_images_grid(client, study):
    file, _ = ask(client, study, foreground=[study.click])
    answer, image = sitk.ReadImage(file), sitk.ReadImage(str(study.file))
    assert answer.GetSize() == image.GetSize()
    assert np.allclose(answer.GetOrigin(), image.GetOrigin(), atol=1e-3)
    assert np.allclose(answer.GetSpacing(), image.GetSpacing(), atol=1e-5)
    assert np.allclose(answer.GetDirection(), image.GetDirection(), atol=1e-5)


def test_a_nifti_answer_has_the_very_affine(client, study):
    file, _ = ask(client, study, foreground=[study.click], result_extension=".nii.gz")
    answer, image = nib.load(file), nib.load(study.file)
    assert answer.affine.tobytes() == image.affine.tobytes()
    assert (answer.header["sform_code"], answer.header["qform_code"]) == (
        image.header["sform_code"],
        image.header["qform_code"],
    )
    check_support(voxels(file), study)


def test_roi_corners_may_be_flipped(client, study):
    flipped, told = ask(client, study, roi=study.roi)
    i, j, k = (sorted(study.roi[start : start + 2]) for start in (0, 2, 4))
    upright, _ = ask(client, study, roi=[*i, *j, *k])
    assert told["notes"] == []
    found = check_support(voxels(flipped), study, 0.7)
    assert (found == voxels(upright)[:, :, study.click[2]]).all()


def test_click_and_roi_together_and_a_negative_click(client, study):
    file, told = ask(client, study, foreground=[study.click], roi=study.roi)
    together = check_support(voxels(file), study, 0.7)
    assert told["notes"] == []
    away = [study.roi[1], study.roi[3], study.click[2]]
    file, _ = ask(client, study, foreground=[study.click], background=[away], roi=study.roi)
    corrected = check_support(voxels(file), study)
    assert together.shape == corrected.shape
    _, told = ask(client, study, foreground=[study.click], roi=[0, 3, 0, 3, 0, 3])
    assert "ROI was left out" in told["notes"][0]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "place one foreground click"),
        ({"background": [[1, 1, 1]]}, "Only background points"),
        ({"foreground": [[999, 1, 1]]}, "lies outside the image"),
        ({"foreground": [[1, 1]]}, "three voxel indices"),
        ({"foreground": [["a", 1, 1]]}, "three voxel indices"),
        ({"foreground": [[float("nan"), 1, 1]]}, "finite"),
        ({"roi": [1, 2, 3]}, "six voxel indices"),
        ({"foreground": [[1, 1, 1]], "slice": "x"}, "whole number"),
        ({"foreground": [[1, 1, 1]], "window": "no-such"}, "Unknown window"),
    ],
)
def test_bad_prompts_reach_the_user_as_422_with_the_cure(client, study, request_, message):
    from monailabel.client.client import MONAILabelClientException

    with pytest.raises(MONAILabelClientException) as refused:
        ask(client, study, **request_)
    assert "Status: 422" in refused.value.msg
    assert message in refused.value.msg


def test_unknown_names_and_other_files_are_refused(client, study):
    from monailabel.client.client import MONAILabelClientException

    click = {"foreground": [study.click]}
    for model, image in (("sam_2d", "nobody"), ("sam_9", "phantom_3"), ("sam_2d", "/etc/hosts")):
        with pytest.raises(MONAILabelClientException) as refused:
            client.infer(model, image, dict(click))
        assert "Status: 404" in refused.value.msg
    _, told = ask(client, study, **click, image="/etc/hosts", model="other")
    assert told["slice"] == study.click[2]


def http(address: str, method: str, body: bytes = b"", kind: str = "application/json"):
    call = urllib.request.Request(address, body or None, {"Content-Type": kind}, method=method)
    try:
        with urllib.request.urlopen(call, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def multipart(name: str, filename: str, content: bytes) -> tuple[bytes, str]:
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
    return head.encode() + content + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"


def test_names_that_lead_out_of_the_studies_are_refused(server, study):
    outside = {path.name for path in study.file.parent.parent.iterdir()}
    body, kind = multipart("file", "a.nii.gz", b"0")
    for name in ("../evil", "..%2F..%2Fevil", "a/b", ".hidden", "a%00b"):
        status, text = http(f"{server.address}/datastore/?image={name}", "PUT", body, kind)
        assert (status, "not a usable name" in text) == (422, True), text
    body, kind = multipart("label", "a.nii.gz", b"0")
    url = f"{server.address}/datastore/label?image=phantom_3&tag=../../evil"
    assert http(url, "PUT", body, kind)[0] == 422
    assert http(f"{server.address}/datastore/label?id=phantom_3&tag=../x", "DELETE")[0] == 422
    assert {path.name for path in study.file.parent.parent.iterdir()} == outside


def test_what_could_harm_is_not_offered(server):
    body, kind = multipart("file", "a.pt", b"0")
    assert http(f"{server.address}/reload", "POST", b"{}")[0] == 404
    assert http(f"{server.address}/model/sam_2d", "PUT", body, kind)[0] == 405
    body, kind = multipart("files", "a.zip", b"0")
    assert http(f"{server.address}/session/?uncompress=true", "PUT", body, kind)[0] == 422
    call = urllib.request.Request(f"{server.address}/info/", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(call, timeout=60)
    assert refused.value.code == 400
    refused.value.close()


def test_an_uploaded_volume_can_be_segmented_and_is_never_replaced(client, server, study):
    assert client.upload_image(str(study.file), "uploaded") == {"image": "uploaded"}
    file, _ = client.infer("sam_2d", "uploaded", {"foreground": [study.click]})
    check_support(voxels(file), study)
    assert client.upload_image(str(study.file), "uploaded") == {"image": "uploaded"}
    from monailabel.client.client import MONAILabelClientException

    with pytest.raises(MONAILabelClientException) as refused:
        client.upload_image(file, "uploaded")
    assert "Status: 409" in refused.value.msg


def test_a_volume_of_the_clients_own_goes_through_a_session(client, study):
    session = client.create_session(str(study.file))["session_id"]
    file, _ = client.infer("sam_2d", "", {"foreground": [study.click]}, session_id=session)
    check_support(voxels(file), study)
    assert client.get_session(session)["expiry"] == 12 * 3600
    client.remove_session(session)
    from monailabel.client.client import MONAILabelClientException

    with pytest.raises(MONAILabelClientException) as refused:
        client.infer("sam_2d", "", {"foreground": [study.click]}, session_id=session)
    assert "Status: 404" in refused.value.msg


def test_a_label_submitted_again_leaves_the_first_in_the_history(client, server, study):
    first, _ = ask(client, study, foreground=[study.click])
    client.save_label("phantom_3", first, params={"label_info": LABEL_INFO, "model": ""})
    saved = server.studies / "labels" / "final" / "phantom_3.nrrd"
    before = saved.read_bytes()
    second, _ = ask(client, study, roi=study.roi)
    client.save_label("phantom_3", second, params={"label_info": LABEL_INFO, "model": ""})
    assert saved.read_bytes() == Path(second).read_bytes()
    history = server.studies / "labels" / "history" / "phantom_3"
    (kept,) = history.glob("final-*.nrrd")
    assert kept.read_bytes() == before == Path(first).read_bytes()
    assert json.loads(kept.with_suffix(".json").read_text())["client_id"] == "user-1"
    objects = client.datastore()["objects"]
    info = objects["phantom_3"]["labels"]["final"]["info"]
    assert info["label_names"] == {"spleen": 1, "liver": 2}
    assert client.info()["datastore"]["completed"] == 1
    assert client.next_sample("first", {})["id"] != "phantom_3"


def test_every_endpoint_slicer_reads_answers(server):
    for path in ("info/", "datastore/", "datastore/?output=train", "logs/?lines=5", "train/"):
        status, text = http(f"{server.address}/{path}", "GET")
        assert status in (200, 404), f"{path}: {text}"
    assert http(f"{server.address}/auth/", "GET")[0] == 404


def test_a_client_that_shares_the_temporary_folder_keeps_its_answers(server, client, study):
    neighbour = type(client)(server.address)
    file, _ = ask(neighbour, study, foreground=[study.click])
    time.sleep(1)  # MONAI Label deletes its own copy after it was sent
    check_support(voxels(file), study)
    Path(file).unlink()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_ctrl_c_stops_it_quietly(server):
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=60) == 0
    rest = "".join(iter(lambda: server.lines.get(timeout=10) or "", ""))
    assert "Stopped." in rest
    assert "Traceback" not in rest
