"""What is compared with what, and what a finished run does when it is asked again."""

import json
from dataclasses import replace

import pytest
import torch
from cobot.adapters.card import AdapterCard
from cobot.adapters.config import AdapterConfig
from cobot.adapters.store import AdapterStore
from cobot.errors import AdapterError, ConfigError
from cobot.training import bench, run_lock
from cobot.training.hardware import Hardware
from cobot.training.run_state import CHECKPOINT_NAME
from cobot.training.train import PROPAGATION_NAME, RESULT_NAME, _prepare_run, train_adapter
from cobot.training.trainee import build_trainee
from filelock import FileLock


@pytest.fixture
def store(tmp_path):
    """Where `request_for` publishes."""
    return AdapterStore(tmp_path / "store")


@pytest.fixture
def adapter(loaded):
    """An adapter of tiny that has learnt from nothing."""
    trainee = build_trainee(loaded, AdapterConfig.named("lora"), 0)
    return trainee.snapshot(AdapterCard("tiny", loaded.sha256))


def train(request, **options):
    return train_adapter(request, lambda now: None, **options)


def test_a_champion_that_has_learnt_from_what_is_measured_is_not_compared(
    request_for, adapter, store, tmp_path
):
    """Its Dice would be flattered, and nothing would ever take its place."""
    split = tmp_path / "sides.json"
    split.write_text(json.dumps({"train": ["0", "1"], "validation": ["2"]}))
    request = request_for("lightweight", split=split)
    data = _prepare_run(request, store, None).data
    card = replace(adapter.card, image_hashes=data.validation.image_hashes)
    store.activate(store.publish(replace(adapter, card=card)).name)
    verdict = train(request).verdict
    assert (verdict.version, store.active()) == ("v0002", "v0001")
    assert "it has learnt from 1 of the cases held back, under another split" in verdict.reason
    assert "cobot adapters activate v0002" in verdict.reason


def test_what_is_gone_on_with_counts_as_learnt_from(request_for, adapter, store):
    before = store.publish(replace(adapter, card=replace(adapter.card, image_hashes=("aa",))))
    run = _prepare_run(request_for("lora", begin_with=before.name), store, store.read(before.name))
    assert run.card.image_hashes == (*run.data.train.image_hashes, "aa")


def damage(store, name):
    """A number that is none in a version's file; its header stays as it was."""
    from safetensors.torch import load_file, save_file

    file = store.show(name).folder / "adapter_model.safetensors"
    tensors = load_file(file)
    next(iter(tensors.values())).fill_(torch.nan)
    save_file(tensors, file)


def test_a_damaged_champion_is_called_damaged(request_for, adapter, store):
    store.activate(store.publish(adapter).name)
    damage(store, "v0001")
    verdict = train(request_for("lightweight")).verdict
    assert (verdict.version, store.active()) == ("v0002", "v0001")
    assert "v0001 could not be compared, for it does not fit or is damaged: " in verdict.reason
    store.activate("v0002")
    with pytest.raises(AdapterError, match="v0001"):
        store.activate("v0001")
    with pytest.raises(AdapterError, match="v0001"):
        store.rollback()
    assert store.active() == "v0002"


def test_propagation_is_measured_against_what_is_active_then(request_for, adapter, store):
    """A run that was not better than one version is repeated after going back to another."""
    outcome = train(request_for("lightweight"))
    path = outcome.folder / PROPAGATION_NAME
    known = json.loads(path.read_text())
    assert known["champion"] == "base"
    path.write_text(json.dumps(known | {"champion": "v0007", "before": {"c": {"ball": 9.0}}}))
    assert train(request_for("lightweight")).propagated == outcome.propagated


def test_a_label_that_went_meanwhile_does_not_undo_the_verdict(request_for, monkeypatch, caplog):
    def gone(self, *arguments):
        raise ConfigError("The label is gone.")

    monkeypatch.setattr(bench.Bench, "propagated", gone)
    outcome = train(request_for("lightweight"))
    assert outcome.propagated == (None, None)
    assert (outcome.folder / RESULT_NAME).exists()
    assert "not measured: The label is gone." in caplog.text


def test_a_run_whose_result_was_removed_replaces_nothing_unasked(request_for, adapter, store):
    sure = request_for("lightweight")
    first = train(sure)
    name = first.verdict.version or store.publish(adapter).name
    other = store.publish(adapter).name
    store.activate(other)
    (first.folder / RESULT_NAME).unlink()
    train(sure)
    assert store.active() == other != name


def test_the_same_command_twice_at_once_trains_once(request_for, store, monkeypatch):
    request = request_for("lightweight")
    folder = _prepare_run(request, store, None).folder
    monkeypatch.setattr(run_lock, "LOCK_WAIT_S", 0.05)
    with FileLock(folder / run_lock.LOCK_NAME), pytest.raises(ConfigError, match="this very run"):
        train(request)
    assert not (folder / CHECKPOINT_NAME).exists()
    assert train(request).folder == folder


def test_another_precision_is_another_run(request_for, store):
    """What "auto" means depends on the machine: half a run in each would be called one."""
    folders = [
        _prepare_run(
            request_for(hardware=Hardware(device="cpu", precision=one)), store, None
        ).folder
        for one in ("auto", "fp32", "bf16")
    ]
    assert folders[0] == folders[1] != folders[2]


def test_a_damaged_checkpoint_names_the_cure(request_for):
    outcome = train(request_for("lightweight"))
    checkpoint = outcome.folder / CHECKPOINT_NAME
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ConfigError, match="is damaged .* move it away"):
        train(request_for("lightweight"))
