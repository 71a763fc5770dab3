"""A cell of a comparison: trained without a look at what it is measured on, and never twice."""

import json
from dataclasses import replace

import numpy as np
import pytest
from cobot.adapters.config import AdapterConfig
from cobot.sam.frame import SamFrame
from cobot.sam.weights import load_sam
from cobot.training.evaluate_method import MEASURES, paper_box
from cobot.training.hardware import Hardware
from cobot.training.loop import TrainingProgress
from cobot.training.method_cell import MethodCell, StepClock, data_sha256, run_cell
from cobot.training.recipe import Recipe
from cobot.training.task import TrainingTask

TASK = TrainingTask("discs", {1: "ball", 2: "rod"}, cut="k").shown_in("-200,300")


@pytest.fixture
def cell(data, weights, tmp_path):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["0", "1"], "validation": ["2"]}))
    return MethodCell(
        data=data,
        data_sha256=data_sha256(data, split),
        task=TASK,
        split=split,
        base="tiny",
        weights=weights,
        base_sha256=load_sam("tiny", weights).sha256,
        adapter=AdapterConfig.named("lora+cobot"),
        recipe=Recipe.named("default", {"epochs": 1, "batch_size": 1, "rounds": 1}),
        seed=0,
        slices=2,
        hardware=Hardware(device="cpu"),
    )


def test_a_cell_is_made_once_and_keeps_every_number(cell, tmp_path):
    steps: list[int] = []
    path = run_cell(cell, tmp_path / "out", lambda now: steps.append(now.step))
    found = json.loads(path.read_text())
    assert steps == [1, 2, 2], "two slices, then the epoch's end"
    assert set(found["dice"]) == {"image_2"}
    assert set(found["dice"]["image_2"]) == {"ball", "rod"}
    for measures in found["dice"]["image_2"].values():
        assert set(measures) == set(MEASURES)
        assert all(0 <= dice <= 1 for dice in measures.values())
    assert found["parameters"] == 8 * 4 * 192 * 4 + 2 * 4 * 16 + 16**2 + 16 * 4
    assert found["steps"] == 2
    assert found["cpu_seconds_per_step"] > 0
    assert not list((tmp_path / "out" / "runs").iterdir()), "the finished run is cleared away"
    before = path.stat().st_mtime_ns
    assert run_cell(cell, tmp_path / "out", lambda now: pytest.fail("it trains again")) == path
    assert path.stat().st_mtime_ns == before


def test_the_base_alone_is_measured_with_the_same_boxes(cell, tmp_path):
    base = replace(cell, adapter=AdapterConfig.named("freeze"))
    found = [
        json.loads(run_cell(one, tmp_path / folder).read_text())
        for one, folder in ((base, "a"), (replace(base, jitter_seed=1), "b"))
    ]
    assert found[0]["parameters"] == found[0]["steps"] == 0
    assert found[0]["seconds_per_step"] is None
    first, second = (one["dice"]["image_2"]["ball"] for one in found)
    assert first["ellipse"] == second["ellipse"]
    assert first["ellipse_jitter"] != second["ellipse_jitter"]


def test_a_cell_is_named_by_all_that_decides_it(cell):
    others = [
        replace(cell, seed=1),
        replace(cell, slices=0),
        replace(cell, jitter_seed=3),
        replace(cell, base_sha256="0" * 64),
        replace(cell, data_sha256="0" * 64),
        replace(cell, task=TASK.shown_in("auto")),
        replace(cell, adapter=cell.adapter.with_width(8)),
        replace(cell, recipe=replace(cell.recipe, learning_rate=2e-3)),
    ]
    assert len({one.name for one in (cell, *others)}) == len(others) + 1
    same = replace(cell, recipe=replace(cell.recipe, save_every=7), data=cell.data / ".")
    assert same.name == cell.name
    assert cell.name.startswith("discs-lora+cobot-v4-s0-")


def test_the_papers_jitter_moves_outwards_by_at_most_its_share():
    frame = SamFrame.fit((100, 100), (1.0, 1.0), 50)
    box = np.array([40.0, 45.0, 60.0, 55.0])
    drawn = np.stack([paper_box(box, frame, np.random.default_rng(seed)) for seed in range(200)])
    outwards = (drawn - box) * (-1, -1, 1, 1)
    assert outwards.min() >= 0
    most = 50 / 1024 * 100
    assert 0.9 * most < outwards.max() <= most
    edge = paper_box(np.array([0.0, 0.0, 99.0, 99.0]), frame, np.random.default_rng(0))
    assert edge.tolist() == [0, 0, 99, 99]


def test_the_clock_leaves_the_first_step_out():
    clock = StepClock(lambda now: None)
    clock(at_step(1))
    assert (clock.steps, clock.median_s) == (1, None)
    clock(at_step(2))
    clock(at_step(2))
    assert clock.steps == 2
    assert clock.median_s > 0


def at_step(step: int) -> TrainingProgress:
    return TrainingProgress(step, 4, 0, 1, 0.5, 0.0)
