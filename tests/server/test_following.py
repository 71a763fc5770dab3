"""Which version the server answers with, and what `cobot serve` says about it beforehand."""

import json
from dataclasses import replace

import pytest
import torch
from cobot.adapters.attach import attach_adapters
from cobot.adapters.card import AdapterCard
from cobot.adapters.checkpoint import collect_adapter
from cobot.adapters.config import AdapterConfig
from cobot.adapters.store import AdapterStore
from cobot.errors import AdapterError
from cobot.sam.build import build
from cobot.sam.weights import default_weights_path, file_sha256
from cobot.server.following import FollowedStore, default_store
from cobot.server.launcher import check_adapter


@pytest.fixture(scope="module")
def file():
    """An adapter for the weights of tiny that ship with the package."""
    config = AdapterConfig.named("lora", train_decoder=False)
    encoder = build("tiny").image_encoder
    handle = attach_adapters(encoder, config, torch.Generator().manual_seed(0))
    card = AdapterCard("tiny", file_sha256(default_weights_path("tiny")))
    return collect_adapter(handle, card)


def test_the_active_version_is_followed_from_before_there_is_a_store(tmp_path, file):
    store = AdapterStore(tmp_path / "store")
    followed = FollowedStore(tmp_path / "store")
    assert followed.wanted() is None
    for name in (store.publish(file).name, store.publish(file).name):
        store.activate(name)
        assert followed.wanted() == name
    store.rollback()
    assert followed.wanted() == "v0001"
    assert followed.read("v0001").card == file.card
    assert not followed.required


def test_a_named_version_or_none_stays_whatever_is_activated(tmp_path, file):
    store = AdapterStore(tmp_path)
    named, none = FollowedStore(tmp_path, "v0001"), FollowedStore(tmp_path, "none")
    store.publish(file)
    store.activate(store.publish(file).name)
    assert (named.wanted(), named.required) == ("v0001", True)
    assert (none.wanted(), none.required) == (None, False)


def test_a_damaged_pointer_is_said(tmp_path):
    (tmp_path / "active.json").write_text("{")
    with pytest.raises(AdapterError, match="active.json is damaged"):
        FollowedStore(tmp_path).wanted()


def test_the_start_checks_the_adapter_among_the_studies(tmp_path, file):
    assert check_adapter({}, tmp_path) == ""
    store = AdapterStore(default_store(tmp_path, "tiny"))
    store.activate(store.publish(file).name)
    assert check_adapter({"model": "tiny"}, tmp_path) == ""
    assert check_adapter({"adapter": "v0001"}, tmp_path) == ""
    with pytest.raises(AdapterError, match="'v0009' is not in"):
        check_adapter({"adapter": "v0009"}, tmp_path)


def test_an_active_version_of_another_base_is_a_warning_and_a_named_one_a_refusal(tmp_path, file):
    store = AdapterStore(tmp_path)
    foreign = replace(file, card=replace(file.card, base_sha256="1" * 64))
    store.activate(store.publish(foreign).name)
    conf = {"store": str(tmp_path)}
    warning = check_adapter(conf, tmp_path / "studies")
    assert "the base will answer" in warning
    assert "base weights SHA-256 1111" in warning
    assert check_adapter({**conf, "adapter": "none"}, tmp_path / "studies") == ""
    with pytest.raises(AdapterError, match="base weights SHA-256 1111"):
        check_adapter({**conf, "adapter": "v0001"}, tmp_path / "studies")
    assert json.loads((tmp_path / "active.json").read_text())["active"] == "v0001"
