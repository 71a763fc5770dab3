"""Label prompts on disk: beside their adapter, strict, never over another file."""

import json
from dataclasses import replace

import pytest
import torch
from cobot.adapters.store import AdapterStore
from cobot.auto.files import (
    FILE_NAME,
    LabelPrompts,
    read_auto_settings,
    read_label_prompts,
    write_label_prompts,
)
from cobot.auto.settings import AutoSettings
from cobot.errors import AdapterError
from safetensors import safe_open
from safetensors.torch import load_file, save_file


@pytest.fixture
def folder(adapter, tmp_path):
    """Of a version in a store."""
    return AdapterStore(tmp_path / "store").publish(adapter).folder


def change(folder, tensors=None, header=None):
    """Write the file again with other tensors or another header."""
    path = folder / FILE_NAME
    with safe_open(path, framework="pt") as source:
        values = json.loads(source.metadata()["label_prompts"])
    kept = load_file(path)
    save_file(
        (tensors or (lambda given: given))(kept),
        path,
        metadata={"label_prompts": json.dumps({**values, **(header or {})})},
    )


def test_they_come_back_as_they_were(folder, prompts):
    assert read_label_prompts(folder) is None
    assert write_label_prompts(folder, prompts) == folder / FILE_NAME
    found = read_label_prompts(folder)
    assert found.settings == prompts.settings
    assert found.settings.names == ("ball", "rod")
    ours = prompts.prompter.state_dict()
    theirs = found.prompter.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not found.prompter.training


def test_the_version_is_still_the_same_version(folder, prompts):
    store = AdapterStore(folder.parent)
    before = store.show("v0001")
    write_label_prompts(folder, prompts)
    assert store.show("v0001") == before
    assert [one.name for one in store.versions()] == ["v0001"]


def test_nothing_is_overwritten(folder, prompts):
    written = write_label_prompts(folder, prompts).read_bytes()
    with pytest.raises(AdapterError, match="never overwritten"):
        write_label_prompts(folder, prompts)
    assert (folder / FILE_NAME).read_bytes() == written


def test_those_of_another_adapter_are_refused(folder, prompts):
    other = LabelPrompts(replace(prompts.settings, adapter_sha256="0" * 64), prompts.prompter)
    with pytest.raises(AdapterError, match="learnt on the adapter with SHA-256 0000"):
        write_label_prompts(folder, other)
    write_label_prompts(folder, prompts)
    change(folder, header={"adapter_sha256": "1" * 64})
    with pytest.raises(AdapterError, match="SHA-256 1111"):
        read_label_prompts(folder)


def test_other_tensors_than_the_settings_say_are_refused(folder, prompts):
    write_label_prompts(folder, prompts)
    change(folder, lambda given: {**given, "extra": torch.zeros(1)})
    with pytest.raises(AdapterError, match="label prompts's tensors do not fit: 0 missing"):
        read_label_prompts(folder)
    change(folder, lambda given: {k: v for k, v in given.items() if k not in ("extra", "tokens")})
    with pytest.raises(AdapterError, match=r"1 missing \['tokens'\]"):
        read_label_prompts(folder)


@pytest.mark.parametrize(
    ("header", "said"),
    [({"format_version": 2}, "format version 2"), ({"speed": 3}, "speed"), ({"shape": 3}, "read")],
)
def test_settings_that_are_not_known_are_refused(folder, prompts, header, said):
    write_label_prompts(folder, prompts)
    change(folder, header=header)
    with pytest.raises(AdapterError, match=said):
        read_auto_settings(folder)


def test_a_damaged_file_is_refused(folder, prompts):
    path = write_label_prompts(folder, prompts)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(AdapterError, match="damaged"):
        read_label_prompts(folder)


def test_windows_of_every_kind_survive(prompts):
    for window in ("-200,300", "mr", "auto"):
        task = prompts.settings.task.shown_in(window)
        settings = replace(prompts.settings, task=task)
        again = json.loads(json.dumps(settings.to_dict()))
        assert AutoSettings.from_dict(again).task == task
