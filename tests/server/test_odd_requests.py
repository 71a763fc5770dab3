"""The real server between odd names, odd folders and requests that it refuses."""

import json
import os
import signal
import time
from urllib.parse import quote

import nibabel as nib
import pytest
import requests
from cobot.datasets.phantom import abdomen_phantom
from cobot.server.leases import Leases
from cobot.training.corrections import find_corrections

# The client leaves the files it sends open.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ODD = ("a#1", "o'brien", "x&y", "x@y", "-x", "scan..v2")
CLICK = {"foreground": [[24, 22, 2]], "label": "liver", "slice": 2}
LEASES = ".cobot/leases.json"
WAIT_S = 120


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    phantom = abdomen_phantom(1, (48, 44, 4), (8.0, 8.0, 30.0))
    nib.save(nib.Nifti1Image(phantom.volume.voxels, phantom.volume.affine), folder / "case1.nii.gz")
    for name in ODD:
        (folder / f"{name}.nii.gz").write_bytes((folder / "case1.nii.gz").read_bytes())
    (folder / "._case1.nii.gz").write_bytes(b"\0\5\x16\7")
    # Half of ann's hour with it is over.
    Leases(folder / LEASES, lambda: time.time() - 1800).take("case1", "ann", 3600.0)
    return folder


@pytest.fixture(scope="module")
def temporary(tmp_path_factory):
    """The server's own temporary folder."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """Where a server before left a volume that has run out, and a damaged session."""
    folder = tmp_path_factory.mktemp("lent")
    for number, meta in enumerate(('{"last_access_ts": 1000, "expiry": 60}', None)):
        session = folder / f"0a0b0c0d-0000-11f0-8000-00000000000{number}"
        session.mkdir()
        (session / "volume.nii.gz").write_bytes(b"voxels of a patient")
        if meta:
            (session / "meta.info").write_text(meta)
        os.utime(session, (1000, 1000))
    return folder


@pytest.fixture(scope="module")
def server(studies, temporary, sessions, start_server):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        started = start_server(studies, "--no-scoring", session_folder=sessions)
        (started.folder / "case1").mkdir()
        yield started


@pytest.fixture(scope="module")
def client(server, client_of):
    return client_of(server)


def uploads(temporary):
    """Files of requests; libraries of the server keep folders there."""
    return [path.name for path in temporary.iterdir() if path.is_file()]


def gone(temporary):
    """Whether no upload is left: what is deleted after an answer goes a moment later."""
    deadline = time.monotonic() + WAIT_S
    while uploads(temporary) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not uploads(temporary)


def put(server, path, field, content, name="a.nii.gz", **form):
    return requests.put(
        f"{server.address}/{path}", files={field: (name, content)}, data=form, timeout=WAIT_S
    )


def test_volumes_lent_to_a_server_before_are_gone(server, sessions):
    assert list(sessions.iterdir()) == []


def test_a_study_is_meant_by_its_name_whatever_lies_in_the_working_folder(client, studies):
    _, told = client.infer("sam_2d", "case1", {**CLICK, "save_label": True})
    assert told["slice"] == 2
    known = client.datastore()["objects"]["case1"]["labels"]["original"]["info"]
    assert (known["model"], known["params"]["slice"]) == ("sam_2d", 2)
    assert nib.load(studies / "labels" / "original" / "case1.nii.gz").shape == (48, 44, 4)


def test_every_study_that_is_offered_can_be_answered_and_submitted(client, server, studies):
    assert set(client.datastore()["objects"]) == {"case1", *ODD}
    label = str(studies / "labels" / "original" / "case1.nii.gz")
    params = {"label_info": [{"name": "liver", "idx": 1}], "model": ""}
    for name in ODD:
        _, told = client.infer("sam_2d", name, dict(CLICK))
        assert told["slice"] == 2
        image = requests.get(f"{server.address}/datastore/image?image={quote(name)}", timeout=60)
        assert image.content == (studies / f"{name}.nii.gz").read_bytes()
        assert client.save_label(name, label, params=params)["label"] == name
        address = f"{server.address}/datastore/label?label={quote(name)}&tag=final"
        assert requests.get(address, timeout=60).status_code == 200
        assert requests.get(address.replace("final", ".."), timeout=60).status_code == 422
    assert {one.case for one in find_corrections(studies)} == set(ODD)


def test_a_refused_request_leaves_no_patient_behind(server, studies, temporary):
    image = (studies / "case1.nii.gz").read_bytes()
    assert put(server, "datastore/?image=case1", "file", b"another").status_code == 409
    assert put(server, "datastore/label?image=nobody", "label", image).status_code == 404
    assert put(server, "datastore/label?image=case1", "label", b"no label").status_code == 422
    refused = requests.post(
        f"{server.address}/infer/sam_2d",
        files={"file": ("a.nii.gz", image), "label": ("b.nii.gz", image)},
        data={"params": json.dumps({"foreground": [[999, 0, 0]]})},
        timeout=WAIT_S,
    )
    assert refused.status_code == 422
    assert "outside" in refused.text
    assert gone(temporary), uploads(temporary)
    answered = requests.post(
        f"{server.address}/infer/sam_2d",
        files={"file": ("a.nii.gz", image)},
        data={"params": json.dumps(CLICK)},
        timeout=WAIT_S,
    )
    assert answered.status_code == 200
    assert gone(temporary), uploads(temporary)


@pytest.mark.parametrize("params", ["[1]", "{", '"text"', "7"])
@pytest.mark.parametrize(
    ("path", "field"), [("?image=new", "file"), ("label?image=case1", "label")]
)
def test_params_that_are_no_object_are_refused_in_words(server, studies, params, path, field):
    image = (studies / "case1.nii.gz").read_bytes()
    answer = put(server, f"datastore/{path}", field, image, params=params)
    assert answer.status_code == 422
    assert "send a JSON object" in answer.text
    assert not (studies / "new.nii.gz").exists()


def test_clicks_keep_the_case_with_who_clicks(client_of, server, studies):
    given_until = Leases(studies / LEASES).first_end_s(["case1"])
    client_of(server, "bob").infer("sam_2d", "case1", dict(CLICK))
    assert Leases(studies / LEASES).first_end_s(["case1"]) == given_until
    client_of(server, "ann").infer("sam_2d", "case1", dict(CLICK))
    assert Leases(studies / LEASES).first_end_s(["case1"]) >= given_until + 1800


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM for another process")
def test_a_server_that_is_told_to_end_leaves_no_answer(client, server, temporary):
    client.infer("sam_2d", "case1", dict(CLICK))
    assert list(temporary.glob("cobot-sam-*"))
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(timeout=WAIT_S)
    assert not list(temporary.glob("cobot-sam-*"))
