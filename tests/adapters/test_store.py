import json
import os
import threading
from dataclasses import replace

import pytest
import torch
from cobot.adapters.checkpoint import AdapterFile, collect_adapter
from cobot.adapters.store import AdapterStore
from cobot.errors import AdapterError


@pytest.fixture
def file(uneven_encoder, attach, card) -> AdapterFile:
    return collect_adapter(attach(uneven_encoder, "lora+cobot", train_decoder=False), card)


@pytest.fixture
def store(tmp_path) -> AdapterStore:
    return AdapterStore(tmp_path / "store")


def names(store: AdapterStore) -> list[str]:
    return [version.name for version in store.versions()]


def test_versions_count_up_and_all_are_kept(store, file):
    assert (names(store), store.active()) == ([], None)
    first = store.publish(file)
    second = store.publish(replace(file, card=replace(file.card, parent="v0001")))
    assert [first.name, second.name] == names(store) == ["v0001", "v0002"]
    assert store.show("v0002").card.parent == "v0001"
    assert store.active() is None
    back = store.read("v0001")
    assert all(torch.equal(back.tensors[name], file.tensors[name]) for name in file.tensors)


def test_ten_thousand_and_first_sorts_by_number(store, file, tmp_path):
    store.publish(file)
    os.rename(tmp_path / "store" / "v0001", tmp_path / "store" / "v9999")
    store.publish(file)
    assert names(store) == ["v9999", "v10000"]


def test_activate_and_roll_back_step_by_step(store, file):
    for _ in range(3):
        store.publish(file)
    for name in ("v0001", "v0003", "v0003", "v0002"):
        store.activate(name)
        assert store.active() == name
    assert [store.rollback(), store.rollback()] == ["v0003", "v0001"]
    assert store.active() == "v0001"
    with pytest.raises(AdapterError, match="No version was active before v0001"):
        store.rollback()
    assert names(store) == ["v0001", "v0002", "v0003"]


def test_another_process_sees_the_same(store, file, tmp_path):
    store.publish(file)
    store.activate("v0001")
    assert AdapterStore(tmp_path / "store").active() == "v0001"


@pytest.mark.parametrize("name", ["v0002", "../v0001", "active.json", ""])
def test_unknown_versions_are_refused_and_change_nothing(store, file, name):
    store.publish(file)
    store.activate("v0001")
    with pytest.raises(AdapterError, match="is not in .*which holds v0001"):
        store.activate(name)
    assert store.active() == "v0001"


def test_unknown_parent_is_refused(store, file):
    orphan = replace(file, card=replace(file.card, parent="v0007"))
    with pytest.raises(AdapterError, match="parent 'v0007' is not in .* which holds no version"):
        store.publish(orphan)


def test_damaged_version_cannot_become_active(store, file, tmp_path):
    store.publish(file)
    store.publish(file)
    store.activate("v0001")
    (tmp_path / "store" / "v0002" / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(AdapterError, match="damaged"):
        store.activate("v0002")
    assert store.active() == "v0001"


def test_a_damaged_version_does_not_hide_the_others(store, file, tmp_path, caplog):
    first, second = store.publish(file), store.publish(file)
    (second.folder / "adapter_model.safetensors").write_bytes(b"junk")
    assert store.versions() == (first,)
    assert f"{second.name} is left out" in caplog.text
    assert store.publish(file).name == "v0003", "its number is not given again"


def test_damaged_pointer_says_what_to_do(store, file, tmp_path):
    store.publish(file)
    (tmp_path / "store" / "active.json").write_text(json.dumps(["v0001"]))
    with pytest.raises(AdapterError, match="active.json is damaged .* activate"):
        store.active()


def test_kill_in_the_middle_leaves_the_store_as_it_was(store, file, tmp_path, monkeypatch):
    store.publish(file)
    store.publish(file)
    store.activate("v0001")
    before = sorted(path.name for path in (tmp_path / "store").iterdir())

    def killed(source, target):
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        for step in (lambda: store.publish(file), lambda: store.activate("v0002")):
            with pytest.raises(OSError, match="killed"):
                step()
    assert (names(store), store.active()) == (["v0001", "v0002"], "v0001")
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == before
    assert store.publish(file).name == "v0003"


def test_a_half_written_folder_of_a_killed_process_is_no_version(store, file, tmp_path):
    store.publish(file)
    (tmp_path / "store" / ".v0002.abcd.tmp").mkdir()
    assert names(store) == ["v0001"]
    assert store.publish(file).name == "v0002"


def test_publishing_from_many_threads_loses_nothing(store, file):
    threads = [threading.Thread(target=store.publish, args=(file,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(store) == [f"v{number:04d}" for number in range(1, 9)]
