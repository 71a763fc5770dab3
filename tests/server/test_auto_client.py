"""Without a click, from the real server: listed when the adapter can, one study, all studies."""

import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
import SimpleITK as sitk
import torch
from cobot.adapters.attach import attach_adapters
from cobot.adapters.card import AdapterCard
from cobot.adapters.checkpoint import AdapterFile, collect_adapter
from cobot.adapters.config import AdapterConfig
from cobot.adapters.store import AdapterStore
from cobot.auto.files import write_label_prompts
from cobot.auto.recipe import AutoRecipe
from cobot.auto.train import FrozenModel, learn_label_prompts
from cobot.datasets.phantom import abdomen_phantom
from cobot.io import read_label_map, write_label_map
from cobot.sam.segmenter import SegmenterOptions
from cobot.sam.weights import load_sam
from cobot.server.following import default_store
from cobot.server.predictions import GivenMask, PredictionStore
from cobot.training.corrections import find_corrections
from cobot.training.task import TrainingTask
from cobot.volume import LabelMap

# The client leaves the files it sends open.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NAMES = ("liver", "spleen")
TASK = TrainingTask("abdomen", {1: "liver", 3: "spleen"}, cut="axial").shown_in("-160,240")
QUICK = AutoRecipe(tokens=2, hidden=16, slices=20, variants=1, guess_steps=80, decoder_steps=2)
WAIT_S = 600


@dataclass
class Clinic:
    """Studies, what they hold, and the store of their server."""

    studies: Path
    truth: dict[str, LabelMap]
    store: AdapterStore


@pytest.fixture(scope="module")
def clinic(tmp_path_factory) -> Clinic:
    """Two studies, one of them broken for good, and an adapter that learnt on two others."""
    studies, taught = (tmp_path_factory.mktemp(name) for name in ("studies", "taught"))
    truth = {}
    for seed in range(4):
        phantom = abdomen_phantom(seed, (64, 56, 10), (6.0, 6.0, 16.0))
        image = nib.Nifti1Image(phantom.volume.voxels, phantom.volume.affine)
        if seed < 2:
            nib.save(image, taught / f"image_{seed}.nii.gz")
            write_label_map(only(phantom.truth), taught / f"label_{seed}.nii.gz")
        else:
            nib.save(image, studies / f"case_{seed}.nii.gz")
            truth[f"case_{seed}"] = phantom.truth
    (studies / "broken.nii.gz").write_bytes(b"no image")
    store = AdapterStore(default_store(studies, "tiny"))
    file = untouched_adapter()
    able = store.publish(file)
    model = FrozenModel.of(load_sam("tiny"), file, "cpu", SegmenterOptions(precision="fp32"))
    write_label_prompts(
        able.folder, learn_label_prompts(model, find_corrections(taught), TASK, QUICK, 0)
    )
    store.publish(replace(file, card=replace(file.card, dataset="without label prompts")))
    store.activate("v0001")
    return Clinic(studies, truth, store)


def only(truth: LabelMap) -> LabelMap:
    """Liver and spleen in the task's values."""
    voxels = np.zeros(truth.voxels.shape, np.uint8)
    for value, name in TASK.labels.items():
        voxels[truth.mask(name)] = value
    return LabelMap(voxels, truth.affine, TASK.labels)


def untouched_adapter() -> AdapterFile:
    """LoRA at its start, at a quick side: it changes nothing."""
    base = load_sam("tiny")
    handle = attach_adapters(
        base.sam.image_encoder, AdapterConfig.named("lora"), torch.Generator().manual_seed(0)
    )
    card = AdapterCard(encoder="tiny", base_sha256=base.sha256, image_size_px=64)
    return collect_adapter(handle, card, base.sam.mask_decoder)


@pytest.fixture(scope="module")
def server(clinic, start_server):
    # Scoring in the background would be one more to wait for.
    return start_server(clinic.studies, "--labels", ",".join(NAMES), "--no-scoring")


@pytest.fixture(scope="module")
def client(server, client_of):
    return client_of(server)


def mean_dice(found: LabelMap, truth: LabelMap) -> float:
    dice = []
    for name in NAMES:
        one = found.mask(name) if name in found.labels.values() else np.zeros(found.voxels.shape)
        other = truth.mask(name)
        dice.append(2 * (one * other).sum() / (one.sum() + other.sum()))
    return float(np.mean(dice))


def test_what_the_adapter_can_do_is_listed_first(client):
    models = client.info()["models"]
    assert list(models)[0] == "segment_abdomen"
    assert "segment_spleen" not in models
    assert "segment_head_neck" not in models
    told = models["segment_abdomen"]
    assert (told["type"], told["dimension"], told["labels"]) == ("segmentation", 3, list(NAMES))


def test_all_labels_of_a_study_without_a_click(client, clinic):
    file, told = client.infer("segment_abdomen", "case_2", {"result_extension": ".nrrd"})
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(file)).T
    truth = clinic.truth["case_2"]
    assert voxels.shape == truth.voxels.shape
    names = {value: name for name, value in told["label_names"].items()}
    assert sorted(names) == list(range(1, len(names) + 1)), "Slicer counts them without a gap"
    assert mean_dice(LabelMap(voxels, truth.affine, names), truth) > 0.2
    assert sorted([*names.values(), *told["not_found"]]) == sorted(NAMES)
    for name in names.values():
        held = (voxels == told["label_names"][name]).any(axis=(0, 1)).nonzero()[0]
        assert list(told["structures"][name]["confidence"]) == [str(k) for k in held]
    assert told["least_certain"]["label"] in NAMES
    assert (told["adapter"], told["slice_axis"], told["precision"]) == ("v0001", "k", "fp32")
    assert {"read", "first_pass", "second_pass", "total"} <= set(told["latencies"])
    assert "clinical" in told["disclaimer"]


def test_what_is_not_found_replaces_what_was_found_before(client, clinic, tmp_path):
    air = nib.Nifti1Image(np.full((64, 56, 10), -1000, np.int16), np.diag([6.0, 6.0, 16.0, 1.0]))
    nib.save(air, tmp_path / "air.nii.gz")
    client.upload_image(str(tmp_path / "air.nii.gz"), "air")
    kept = PredictionStore(clinic.studies / ".cobot" / "predictions")
    now = datetime.now(timezone.utc)
    for name in (*NAMES, "rib"):
        kept.keep("air", GivenMask(name, 4, np.ones((64, 56), bool), "v0000", now))
    _, told = client.infer("segment_abdomen", "air", {})
    assert sorted(told["not_found"]) == sorted(NAMES)
    assert [one.label for one in kept.of("air")] == ["rib"]


def test_a_batch_keeps_a_label_for_each_study_that_can_be_read(server, client, clinic):
    # MONAI Label's own defaults, which name a GPU.
    address = f"{server.address}/batch/infer"
    begun = requests.post(f"{address}/segment_abdomen?images=all", timeout=WAIT_S)
    assert begun.status_code == 200
    deadline = time.monotonic() + WAIT_S
    while requests.get(address, timeout=WAIT_S).json()["status"] not in ("DONE", "ERROR"):
        assert time.monotonic() < deadline
        time.sleep(1)
    assert requests.get(address, timeout=WAIT_S).json()["status"] == "DONE"
    for case, truth in clinic.truth.items():
        label = clinic.studies / "labels" / "original" / f"{case}.nii.gz"
        assert mean_dice(read_label_map(label), truth) > 0.2
        assert (
            nib.load(label).affine.tobytes()
            == nib.load(clinic.studies / f"{case}.nii.gz").affine.tobytes()
        )
    assert not list((clinic.studies / "labels" / "original").glob("broken*"))
    known = client.datastore()["objects"]["case_3"]["labels"]["original"]["info"]
    assert known["params"]["adapter"] == "v0001"


def test_an_adapter_that_cannot_is_no_longer_offered(client, clinic):
    from monailabel.client.client import MONAILabelClientException

    clinic.store.activate("v0002")
    assert "segment_abdomen" not in client.info()["models"]
    with pytest.raises(MONAILabelClientException) as refused:
        client.infer("segment_abdomen", "case_2", {})
    assert "Status: 503" in refused.value.msg
    assert "v0002 carries no label prompts" in refused.value.msg
    assert "cobot train --dataset abdomen --auto" in refused.value.msg
    clinic.store.activate("v0001")
    assert "segment_abdomen" in client.info()["models"]
