"""Which adapter segments by itself, and how its labels are numbered; nothing is computed here."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest
from cobot.adapters.checkpoint import AdapterFile
from cobot.errors import AdapterError
from cobot.geometry import check_affine
from cobot.server import auto_engine
from cobot.server.auto_engine import AutoEngine, contiguous
from cobot.server.batch import BatchAnswers
from cobot.server.engine import InUse, SliceEngine
from cobot.server.study import FileStamp, Study
from cobot.volume import LabelMap, Volume
from fastapi import HTTPException
from monailabel.interfaces.datastore import Datastore


def test_labels_that_were_found_are_numbered_without_a_gap():
    voxels = np.zeros((2, 2, 2), np.uint8)
    voxels[0, 0, 0], voxels[1, 1, 1] = 2, 7
    whole = LabelMap(voxels, check_affine(np.eye(4)), {1: "liver", 2: "spleen", 7: "aorta"})
    found = contiguous(whole)
    assert found.labels == {1: "spleen", 2: "aorta"}
    assert (found.voxels[0, 0, 0], found.voxels[1, 1, 1], found.voxels.sum()) == (1, 2, 3)
    nothing = contiguous(replace(whole, voxels=np.zeros_like(voxels)))
    assert nothing.labels == {}
    assert not nothing.voxels.any()


class Source:
    """An adapter source that says one name."""

    required = False

    def __init__(self, name: str | None) -> None:
        self.name = name

    def wanted(self) -> str | None:
        return self.name

    def read(self, version: str) -> AdapterFile:
        raise AssertionError(version)

    def folder(self, version: str) -> Path:
        raise AdapterError(f"{version!r} is not in the store")


class Slices(SliceEngine):
    """An engine whose adapter is changed by somebody else after some looks."""

    def __init__(self, adapter: str | None, looks: int, trouble: str = "") -> None:
        super().__init__(lambda: pytest.fail("no model is needed"))
        self.adapter, self.looks, self.trouble = adapter, looks, trouble

    def in_use(self) -> InUse:
        self.looks -= 1
        found = object.__new__(InUse)
        object.__setattr__(found, "adapter", self.adapter if self.looks < 0 else None)
        object.__setattr__(found, "trouble", self.trouble)
        return found


def refusal(slices: Slices, source: Source) -> str:
    volume = Volume(np.zeros((2, 2, 2)), check_affine(np.eye(4)))
    study = Study(volume, FileStamp(Path("study.nii.gz"), 0, 0))
    with pytest.raises(AdapterError) as refused:
        AutoEngine(slices, source).segment(study, "spleen")
    return str(refused.value)


def test_an_adapter_that_is_being_put_into_use_is_waited_for(monkeypatch):
    monkeypatch.setattr(auto_engine, "LOOK_AGAIN_S", 0.0)
    slices = Slices("v0002", looks=3)
    assert "'v0002' is not in" in refusal(slices, Source("v0002")), "it was looked for"
    assert slices.looks == -1
    monkeypatch.setattr(auto_engine, "CHANGE_S", -1.0)
    assert "No adapter is in use" in refusal(Slices("v0002", 9), Source("v0002"))


def test_why_an_adapter_is_not_in_use_is_said_with_a_cure():
    said = refusal(Slices(None, 0), Source(None))
    assert "No adapter is in use" in said
    assert "cobot train --dataset spleen --auto" in said
    said = refusal(Slices(None, 0, "Adapter v0001 is damaged."), Source("v0001"))
    assert "Adapter v0001 is damaged. Cure: train one" in said


def test_a_version_that_cannot_be_read_is_not_offered():
    slices = Slices(None, 0)
    assert AutoEngine(slices, Source(None)).offered("spleen") is None
    assert AutoEngine(slices, Source("v0001")).offered("spleen") is None


STORE = create_autospec(Datastore, instance=True)


class Listed(BatchAnswers):
    """A batch of three studies."""

    def get_images(self, request, datastore):
        return ["c", "a", "b"]


def test_a_study_that_fails_does_not_end_the_batch(tmp_path):
    sent = tmp_path / "mask.nii.gz"
    sent.write_bytes(b"mask")

    def infer(request, datastore):
        if request["image"] == "b":
            raise HTTPException(422, "no 3D image")
        assert request["save_label"]
        return {"file": str(sent), "label": request["image"], "tag": "original"}

    told = Listed()({"device": "cuda", "multi_gpu": True}, STORE, infer)
    assert list(told) == ["a", "b", "c"]
    assert told["a"] == {"label": "a", "tag": "original"}
    assert told["b"] == {"error": "no 3D image"}
    assert not sent.exists()
    few = Listed()({"max_batch_size": 1}, STORE, infer)
    assert list(few) == ["a"]
