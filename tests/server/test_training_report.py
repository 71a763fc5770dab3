"""What a trainer's file says, and what it means once its process is gone."""

import json
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest
from cobot.server.training_report import (
    TrainingReport,
    newest_first,
    read_report,
    write_report,
)


def test_slicers_keys_while_it_runs_and_when_it_is_over(tmp_path):
    path = tmp_path / "trainers" / "spleen.json"
    assert read_report(path) is None
    starting = TrainingReport.starting(20, ["two studies were left out"])
    assert starting.to_dict() | {"start_ts": 0} == {
        "epoch": 0, "total_epochs": 20, "start_ts": 0, "current_time": "0:00:00",
        "best_metric": 0.0, "state": "starting", "message": "The training is starting.",
        "notes": ["two studies were left out"], "version": None,
    }  # fmt: skip
    running = starting.running(3, 20, 0.71)
    write_report(running, path)
    assert read_report(path) == running
    shown = running.to_dict()
    assert (shown["epoch"], shown["best_metric"]) == (3, 0.71)
    assert "total_time" not in shown
    ended = running.ended("published", "v0002 is published.", "v0002")
    write_report(ended, path)
    back = read_report(path)
    assert back == ended
    assert "current_time" not in back.to_dict()
    assert (back.to_dict()["total_time"], back.to_dict()["version"]) == ("0:00:00", "v0002")
    json.dumps(back.to_dict(), allow_nan=False)


def test_a_total_of_no_epochs_would_be_divided_by():
    assert TrainingReport.starting(0).to_dict()["total_epochs"] == 1


def test_a_training_whose_process_is_gone_is_interrupted(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    born = psutil.Process(other.pid).create_time()
    running = replace(TrainingReport.starting(5).running(1, 5, 0.5), process=(other.pid, born))
    assert running.seen_now(is_started=False).state == "running"
    assert TrainingReport.starting(5).seen_now(is_started=True).state == "starting"
    earlier = replace(running, process=(other.pid, born - 9))
    assert earlier.seen_now(is_started=False).state == "interrupted"
    other.communicate(b"\n")
    gone = running.seen_now(is_started=False)
    assert gone.state == "interrupted"
    assert running.seen_now(is_started=True) == gone, "what runs now is another trainer's"
    assert "start it with the same settings to go on" in gone.message
    ended = running.ended("failed", "no labels")
    assert ended.seen_now(is_started=False) == ended


def test_a_training_that_is_starting_is_so_as_long_as_the_server_says(tmp_path):
    starting = TrainingReport.starting(5)
    assert starting.seen_now(is_started=True) == starting
    assert starting.seen_now(is_started=False).state == "interrupted"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"stats": [1]}'])
def test_a_damaged_file_counts_as_none(tmp_path, content):
    path = tmp_path / "spleen.json"
    path.write_text(content)
    assert read_report(path) is None


def test_the_trainer_that_began_last_stands_first():
    stats = {"a": {}, "b": {"start_ts": 5}, "c": {"start_ts": 7}, "d": {}}
    assert list(newest_first(stats)) == ["c", "b", "a", "d"]
    assert newest_first({}) == {}
