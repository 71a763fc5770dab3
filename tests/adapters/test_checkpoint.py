import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
from cobot.adapters.checkpoint import (
    CONFIG_NAME,
    TENSORS_NAME,
    collect_adapter,
    read_adapter,
    read_header,
    write_adapter,
)
from cobot.errors import AdapterError, ConfigError
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn


@pytest.fixture
def file(encoder, attach, card):
    handle = attach(encoder, "lora+cobot", relation="fixed", train_decoder=False, blocks=(0, 2))
    return collect_adapter(handle, card)


@pytest.fixture
def folder(file, tmp_path):
    write_adapter(tmp_path / "spleen", file)
    return tmp_path / "spleen"


def rewrite(folder, change):
    """Write the safetensors file again with other settings inside, and no JSON beside."""
    with safe_open(folder / TENSORS_NAME, framework="pt") as source:
        tensors = {name: source.get_tensor(name) for name in source.keys()}
        header = json.loads(source.metadata()["adapter_config"])
    change(header)
    save_file(tensors, folder / TENSORS_NAME, metadata={"adapter_config": json.dumps(header)})
    (folder / CONFIG_NAME).unlink()


def test_round_trip_is_exact_and_holds_the_shared_tensors_once(file, folder):
    back = read_adapter(folder)
    assert (back.config, back.card) == (file.config, file.card)
    assert back.tensors.keys() == file.tensors.keys()
    assert all(torch.equal(back.tensors[name], file.tensors[name]) for name in file.tensors)
    assert [name for name in back.tensors if name.startswith("relation.")] == [
        "relation.linked",
        "relation.matrix",
    ]


def test_folder_holds_two_files_that_say_the_same(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted([TENSORS_NAME, CONFIG_NAME])
    with safe_open(folder / TENSORS_NAME, framework="pt") as source:
        inside = json.loads(source.metadata()["adapter_config"])
    assert inside == json.loads((folder / CONFIG_NAME).read_text())
    assert inside["format_version"] == 1
    assert inside["card"]["window"] == {"kind": "ct", "low_hu": -160, "high_hu": 240}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_other_users_may_read_what_the_umask_allows(file, tmp_path):
    old = os.umask(0o022)
    try:
        write_adapter(tmp_path / "shared", file)
    finally:
        os.umask(old)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "shared").iterdir()}
    assert modes == {TENSORS_NAME: 0o644, CONFIG_NAME: 0o644}


def test_a_lone_safetensors_file_is_complete(file, folder):
    (folder / CONFIG_NAME).unlink()
    assert read_header(folder) == (file.config, file.card)


def test_values_are_apart_from_the_model(encoder, attach, card):
    handle = attach(encoder, "lora", train_decoder=False)
    file = collect_adapter(handle, card)
    with torch.no_grad():
        handle.parameters()["blocks.0.attn.qkv.q.lora_a"].zero_()
    assert file.tensors["blocks.0.attn.qkv.q.lora_a"].abs().max() > 0


def test_existing_folder_is_never_overwritten(file, folder):
    with pytest.raises(AdapterError, match="exists already, and adapters are never overwritten"):
        write_adapter(folder, file)


def test_broken_write_leaves_nothing(file, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError("killed")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="killed"):
        write_adapter(tmp_path / "store" / "spleen", file)
    assert list((tmp_path / "store").iterdir()) == []


def test_decoder_is_saved_exactly_when_trained(encoder, attach, card):
    handle = attach(encoder, "lightweight")
    decoder = nn.Linear(2, 3)
    file = collect_adapter(handle, card, decoder)
    assert file.tensors.keys() == {"mask_decoder.weight", "mask_decoder.bias"}
    assert file.adapter_tensors() == {}
    assert torch.equal(file.decoder_tensors()["weight"], decoder.weight)
    with pytest.raises(
        AdapterError, match="train_decoder=True, but carries 0 mask decoder tensors"
    ):
        collect_adapter(handle, card)


def test_freeze_has_nothing_to_save(encoder, attach, card):
    with pytest.raises(AdapterError, match="trains nothing, so there is nothing to save"):
        collect_adapter(attach(encoder, "freeze"), card)


def test_missing_damaged_and_foreign_files_are_refused(folder, tmp_path):
    with pytest.raises(AdapterError, match=f"{TENSORS_NAME} does not exist"):
        read_adapter(tmp_path / "nowhere")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    save_file({"w_a_000": torch.zeros(2)}, foreign / TENSORS_NAME)
    with pytest.raises(AdapterError, match="carries no adapter settings.*cobot adapters import"):
        read_adapter(foreign)
    content = (folder / TENSORS_NAME).read_bytes()
    (folder / TENSORS_NAME).write_bytes(content[: len(content) // 2])
    with pytest.raises(AdapterError, match="damaged or no safetensors file"):
        read_adapter(folder)


def test_json_changed_by_hand_is_refused(folder):
    header = json.loads((folder / CONFIG_NAME).read_text())
    header["card"]["window"]["low_hu"] = 0
    (folder / CONFIG_NAME).write_text(json.dumps(header))
    with pytest.raises(AdapterError, match="differs from the settings inside"):
        read_adapter(folder)
    for text in (b"{", b"\xff\xfe", b"[" * 100_000):
        (folder / CONFIG_NAME).write_bytes(text)
        with pytest.raises(AdapterError, match="holds no valid JSON"):
            read_adapter(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1j])
def test_numbers_that_are_none_are_refused(file, tmp_path, value):
    name, tensor = next(iter(file.tensors.items()))
    spoilt = {**file.tensors, name: tensor + value}
    write_adapter(tmp_path / "spoilt", replace(file, tensors=spoilt))
    with pytest.raises(AdapterError, match=f"NaN, infinite or complex, in {name}"):
        read_adapter(tmp_path / "spoilt")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda h: h.update(format_version=2), AdapterError, "format version 2, this .* reads 1"),
        (lambda h: h.pop("format_version"), AdapterError, "format version None"),
        (lambda h: h.pop("card"), AdapterError, "no adapter settings or no card"),
        (lambda h: h["card"].pop("base_sha256"), AdapterError, r"missing \['base_sha256'\]"),
        (lambda h: h["card"].update(base_sha256=None), AdapterError, "None must be str"),
        (lambda h: h["card"].update(image_size_px="256"), AdapterError, "'256' must be int"),
        (lambda h: h["card"].update(recipe=[1]), AdapterError, "recipe .1. must be dict"),
        (lambda h: h["adapter"].update(width=2**32), ConfigError, "must lie in 1 to 4096"),
        (lambda h: h["adapter"].update(scale=10**400), ConfigError, "too large a number"),
        (lambda h: h["adapter"].update(alpha=1), ConfigError, r"unknown \['alpha'\]"),
        (lambda h: h["adapter"].update(width=3), ConfigError, "divisible by 4"),
        (lambda h: h["adapter"].update(train_decoder=True), AdapterError, "carries 0 mask decoder"),
    ],
)
def test_wrong_settings_are_refused(folder, change, error, message):
    rewrite(folder, change)
    with pytest.raises(error, match=message):
        read_adapter(folder)


def test_a_folder_may_be_moved(file, folder, tmp_path):
    shutil.move(folder, tmp_path / "elsewhere")
    assert read_adapter(tmp_path / "elsewhere").card == file.card
