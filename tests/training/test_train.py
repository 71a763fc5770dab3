"""A training from beginning to end: it learns, is judged, and survives being killed."""

import json
import os
import runpy
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cobot.adapters.config import AdapterConfig
from cobot.adapters.store import AdapterStore
from cobot.errors import AdapterError, ConfigError
from cobot.geometry import check_affine
from cobot.io import write_label_map
from cobot.training.bench import Bench
from cobot.training.champion import BASE, Champion, decide
from cobot.training.hardware import Hardware
from cobot.training.loop import TrainingProgress
from cobot.training.recipe import Recipe
from cobot.training.run_state import CHECKPOINT_NAME, load_state
from cobot.training.train import RESULT_NAME, _prepare_run, train_adapter
from cobot.training.validate import ValidationScores
from cobot.volume import LabelMap

CONFTEST = Path(__file__).with_name("conftest.py")

KILLED = """
import os, runpy, signal, sys
from pathlib import Path
from cobot.adapters.config import AdapterConfig
from cobot.training.hardware import Hardware
from cobot.training.recipe import Recipe
from cobot.training.request import TrainingRequest
from cobot.training.train import train_adapter

conftest, data, weights, store, method, late = sys.argv[1:]
play = runpy.run_path(conftest)
adapter = AdapterConfig.named(method, blocks=(6, 7) if late else None)
def kill(progress):
    if progress.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
train_adapter(TrainingRequest(
    data=Path(data), task=play["TASK"], store=Path(store), weights=Path(weights), side_px=32,
    adapter=adapter, recipe=Recipe.named("default", play["QUICK"]),
    hardware=Hardware(device="cpu", precision="bf16" if late else "auto"),
), kill)
"""


def final_tensors(outcome):
    state = load_state(outcome.folder, outcome.folder.name)
    return {**state.tensors, **{f"best.{name}": value for name, value in state.best.items()}}


# AdaptFormer has dropout, so that randomness within the model must come back too. The second is
# resumed without the tokens of the frozen blocks that the killed one had kept.
@pytest.mark.parametrize("late", ["", "late blocks in bf16"])
def test_killed_in_the_middle_it_ends_as_if_it_had_not_been(
    request_for, data, weights, tmp_path, late
):
    store = tmp_path / "killed"
    arguments = [CONFTEST, data, weights, store, "adaptformer+cobot", late]
    changes = {}
    if late:
        adapter = AdapterConfig.named("adaptformer+cobot", blocks=(6, 7))
        hardware = Hardware(device="cpu", precision="bf16")
        changes = {"adapter": adapter, "hardware": hardware}
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert AdapterStore(store).versions() == ()
    seen: list[int] = []
    request = request_for("adaptformer+cobot", store=store, **changes)
    resumed = train_adapter(request, lambda now: seen.append(now.step))
    assert seen[0] == 5, "it should go on after the checkpoint of step 4"
    whole = train_adapter(request_for("adaptformer+cobot", **changes), lambda now: None)
    ours, theirs = final_tensors(resumed), final_tensors(whole)
    assert ours.keys() == theirs.keys()
    unequal = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert unequal == []
    assert resumed.history == whole.history


def test_training_learns_is_published_and_found(request_for, data, monkeypatch):
    # Else the base answers a box with its ellipse, and on discs nothing is left to learn.
    monkeypatch.setattr("cobot.sam.prompt_map.CARRIED", 0.0)
    recipe = Recipe.named(
        "default", {"epochs": 8, "batch_size": 2, "rounds": 1, "prompts": "box",
                    "decoder_rate": 1e-3, "warmup_steps": 0},
    )  # fmt: skip
    seen: list[TrainingProgress] = []
    request = request_for("lightweight", recipe=recipe, side_px=64)
    outcome = train_adapter(request, seen.append)
    verdict = outcome.verdict
    assert verdict.champion.name == "base"
    assert verdict.challenger.mean > verdict.champion.scores.mean + 0.1
    assert verdict.version == "v0001"
    store = AdapterStore(request.store)
    assert store.active() == "v0001"
    card = store.show("v0001").card
    assert card.metrics["dice"] == verdict.challenger.mean
    assert card.metrics["champion_dice"] == verdict.champion.scores.mean
    assert (card.split["train"], card.split["validation"], card.split["held_out"]) == (2, 1, True)
    assert not set(card.image_hashes) & set(card.split["validation_image_hashes"])
    assert seen[-1].best_dice == max(scores.mean for scores in outcome.history)
    stats = json.loads((outcome.folder / "train_stats.json").read_text())
    assert stats["total_time"]
    assert stats["best_metric"] == pytest.approx(seen[-1].best_dice, abs=1e-4)
    assert list((outcome.folder / "tensorboard").iterdir())


def test_the_card_says_which_blocks_learnt_and_at_which_precision(request_for, tmp_path):
    adapter = AdapterConfig.named("lora", blocks=(6, 7))
    hardware = Hardware(device="cpu", precision="bf16")
    for changes, written in (
        ({}, ("all", "fp32")),
        ({"adapter": adapter, "hardware": hardware}, ([6, 7], "bf16")),
    ):
        request = request_for(**changes)
        recipe = _prepare_run(request, AdapterStore(request.store), None).card.recipe
        assert (recipe["blocks"], recipe["precision"]) == written


def test_the_same_command_again_publishes_nothing_twice(request_for):
    first = train_adapter(request_for("lightweight"), lambda now: None)
    version = first.verdict.version
    steps: list[int] = []
    again = train_adapter(request_for("lightweight"), lambda now: steps.append(now.step))
    assert steps == []
    assert again.folder == first.folder
    assert again.history == first.history
    assert again.propagated == first.propagated
    if version is not None:
        assert again.verdict.champion.scores == first.verdict.champion.scores
    assert len(AdapterStore(again.folder.parents[1]).versions()) == (version is not None)


def test_few_cases_are_said_and_trained_on(request_for, tmp_path):
    play = runpy.run_path(str(CONFTEST))
    said: list[str] = []
    outcome = train_adapter(
        request_for("lightweight", data=play["write_pairs"](tmp_path / "one", 1)),
        lambda now: None,
        said.append,
    )
    assert any("too few to hold one back" in sentence for sentence in said)
    assert "too few" in outcome.note


def test_a_recipe_that_explodes_names_where_and_keeps_the_checkpoint(request_for, tmp_path):
    recipe = Recipe.named(
        "default", {"epochs": 40, "batch_size": 1, "learning_rate": 0.99, "decoder_rate": 0.99,
                    "clip_norm": 0, "save_every": 1, "patience": 0, "schedule": "constant",
                    "optimiser": "adam", "weight_decay": 0.0, "rounds": 1},
    )  # fmt: skip
    request = request_for("lora", recipe=recipe)

    def poison(progress: TrainingProgress) -> None:
        # What a rate too high ends in, without waiting for it.
        if progress.step == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train_adapter(request, poison)
    (folder,) = (request.store / "runs").iterdir()
    state = load_state(folder, folder.name)
    for tensor in state.tensors.values():
        tensor.fill_(float("nan"))
    from cobot.training.run_state import save_state

    save_state(state, folder)
    before = (folder / CHECKPOINT_NAME).read_bytes()
    with pytest.raises(ConfigError, match=r"The loss is nan on case 'image_\d', slice \d"):
        train_adapter(request, lambda now: None)
    assert (folder / CHECKPOINT_NAME).read_bytes() == before
    assert AdapterStore(request.store).versions() == ()


def test_a_checkpoint_of_another_run_is_refused(request_for):
    outcome = train_adapter(request_for("lightweight"), lambda now: None)
    with pytest.raises(ConfigError, match="made with other settings or data"):
        load_state(outcome.folder, "another")


def test_going_on_without_an_active_version_is_refused(request_for):
    with pytest.raises(AdapterError, match="so there is none to go on with"):
        train_adapter(request_for(begin_with="active"), lambda now: None)


def scores(dice: float) -> ValidationScores:
    return ValidationScores({"c": {"ball": dice}})


@pytest.fixture
def challenger(loaded):
    from cobot.adapters.card import AdapterCard
    from cobot.training.trainee import build_trainee

    trainee = build_trainee(loaded, AdapterConfig.named("lora"), 0)
    return trainee.snapshot(AdapterCard("tiny", loaded.sha256))


@pytest.mark.parametrize(("dice", "published"), [(0.71, True), (0.7, True), (0.69, False)])
def test_only_what_is_not_worse_is_published(tmp_path, challenger, dice, published):
    store = AdapterStore(tmp_path)
    store.activate(store.publish(challenger).name)
    verdict = decide(store, challenger, scores(dice), Champion("v0001", scores(0.7)))
    assert (verdict.version == "v0002") == published
    assert store.active() == ("v0002" if published else "v0001")
    assert f"{dice:.4f}" in verdict.reason
    assert "0.7000" in verdict.reason


def test_a_champion_of_another_base_is_not_replaced_unseen(tmp_path, challenger):
    store = AdapterStore(tmp_path)
    store.activate(store.publish(challenger).name)
    verdict = decide(store, challenger, scores(0.9), Champion("v0001", None))
    assert (verdict.version, store.active()) == ("v0002", "v0001")
    assert "cobot adapters activate v0002" in verdict.reason


def test_the_mean_is_over_cases_then_structures():
    found = ValidationScores({"a": {"x": 1.0, "y": 0.0}, "b": {"x": 0.8}, "c": {}})
    assert found.mean == pytest.approx((0.5 + 0.8) / 2)
    assert found.by_label == {"x": pytest.approx(0.9), "y": 0.0}


def test_the_verdict_is_written_down(request_for):
    outcome = train_adapter(request_for("lightweight"), lambda now: None)
    written = json.loads((outcome.folder / RESULT_NAME).read_text())
    assert written["version"] == outcome.verdict.version
    assert written["dice"] == outcome.verdict.challenger.mean
    assert os.listdir(outcome.folder.parent) == [outcome.folder.name]


def test_each_is_measured_at_its_own_side(request_for, challenger, tmp_path):
    """A champion judged at the challenger's side would be beaten by what is worse than it."""
    store = AdapterStore(tmp_path / "store")
    card = replace(challenger.card, image_size_px=64)
    version = store.publish(replace(challenger, card=card)).name
    at_64, at_32 = (_prepare_run(request_for(side_px=side), store, None) for side in (64, 32))
    assert at_64.bench.champion(version) == at_32.bench.champion(version)
    assert at_64.bench.champion(BASE) != at_32.bench.champion(BASE), "the base has no side"


def test_what_was_learnt_from_is_not_measured_on(request_for, challenger, tmp_path):
    store = AdapterStore(tmp_path / "store")
    split = tmp_path / "sides.json"
    split.write_text(json.dumps({"train": ["0", "1"], "validation": ["2"]}))
    hashes = _prepare_run(request_for(split=split), store, None).data.train.image_hashes
    learnt = replace(challenger, card=replace(challenger.card, image_hashes=hashes))
    _prepare_run(request_for(split=split), store, learnt)
    split.write_text(json.dumps({"train": ["0", "2"], "validation": ["1"]}))
    with pytest.raises(ConfigError, match="has learnt from 1 of the 1 cases held back"):
        _prepare_run(request_for(split=split), store, learnt)


def test_cases_held_back_without_a_structure_are_named(request_for, tmp_path):
    play = runpy.run_path(str(CONFTEST))
    folder = play["write_pairs"](tmp_path / "some", 3)
    empty = LabelMap(np.zeros((40, 36, 6), np.uint8), check_affine(play["AFFINE"]), play["LABELS"])
    write_label_map(empty, folder / "label_1.nii.gz")
    split = tmp_path / "sides.json"
    split.write_text(json.dumps({"train": ["0", "2"], "validation": ["1"]}))
    with pytest.raises(ConfigError, match=r"None of the 1 cases held back .*\(image_1\)"):
        train_adapter(request_for("lightweight", data=folder, split=split), lambda now: None)
    outcome = train_adapter(request_for("lightweight", data=folder), lambda now: None)
    assert list(outcome.history[-1].dice) in (["image_0"], ["image_2"])


def test_a_damaged_version_is_left_out_and_said(request_for, tmp_path, caplog):
    folder = tmp_path / "store" / "v0001"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"junk")
    outcome = train_adapter(request_for("lightweight"), lambda now: None)
    assert outcome.verdict.version in (None, "v0002")
    assert "v0001 is left out" in caplog.text
    with pytest.raises(AdapterError, match="v0001"):
        AdapterStore(tmp_path / "store").show("v0001")


def test_what_became_active_meanwhile_is_compared_too(
    request_for, challenger, tmp_path, monkeypatch
):
    store, measured = AdapterStore(tmp_path / "store"), list[str]()
    measure = Bench.champion

    def slowly(bench, name):
        measured.append(name)
        if name == BASE:
            store.activate(store.publish(challenger).name)
        return measure(bench, name)

    monkeypatch.setattr(Bench, "champion", slowly)
    outcome = train_adapter(request_for("lightweight"), lambda now: None)
    assert measured == [BASE, "v0001"]
    assert outcome.verdict.champion.name == "v0001"
