"""The real command, killed for good in the middle, and started again."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest
from cobot.batch.manifest import read_manifest
from cobot.batch.record import MANIFEST_NAME
from cobot.datasets.phantom import abdomen_phantom
from cobot.io.image_writer import write_volume

GRID = {"shape": (40, 36, 4), "spacing_mm": (9.0, 9.0, 40.0)}
CASES = 8
PATIENCE_S = 900


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Eight images; one more file is none."""
    root = tmp_path_factory.mktemp("killed")
    (root / "in").mkdir()
    for number in range(CASES):
        volume = abdomen_phantom(number, **GRID).volume
        write_volume(volume, root / "in" / f"case{number}.nii.gz")
    (root / "in" / "bad.nii.gz").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def command(folders, weights):
    def made(out, *options):
        return [
            *(sys.executable, "-m", "cobot.cli.main", "segment", str(folders / "in")),
            *("-o", str(out), "--box", "liver=8,8,1,24,26,2", "--device", "cpu"),
            *("--weights", str(weights), "--batch", "2", "--jobs", "1", *options),
        ]

    return made


@pytest.fixture(scope="module")
def whole(folders, command):
    """Masks of a run that nobody disturbed."""
    out = folders / "whole"
    run = subprocess.run(command(out), capture_output=True, text=True)
    assert run.returncode == 1, run.stdout + run.stderr
    return masks(out)


def masks(out):
    return {path.name: path.read_bytes() for path in sorted(out.glob("case*/case*.nii.gz"))}


def done_lines(out):
    """How often each case is said to be done; a torn line says nothing."""
    counts = Counter()
    for line in (out / MANIFEST_NAME).read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        counts[record["case"]] += record["status"] == "done"
    return counts


def kill_after(process, out, count, victim=lambda process: process.pid):
    """Kill -9 once so many masks are there and the victim is at work."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        if out.exists() and len(masks(out)) >= count and (chosen := victim(process)):
            os.kill(chosen, signal.SIGKILL)
            return
        time.sleep(0.01)
    raise AssertionError("nothing was segmented in time")


def worker_at_work(process):
    """A Ray worker in the middle of its cases, or None."""
    children = psutil.Process(process.pid).children(recursive=True)
    at_work = [one.pid for one in children if "CaseWorker.segment" in " ".join(one.cmdline())]
    return at_work[0] if at_work else None


@pytest.mark.integration
def test_killed_twice_it_repeats_nothing_and_loses_nothing(folders, command, whole):
    out = folders / "killed"
    for count in (2, 5):
        process = subprocess.Popen(command(out), stdout=subprocess.PIPE, text=True)
        kill_after(process, out, count)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    third = subprocess.run(command(out), capture_output=True, text=True)
    assert third.returncode == 1
    assert "failed: bad:" in third.stdout
    assert masks(out) == whole
    assert done_lines(out) == {**{f"case{n}": 1 for n in range(CASES)}, "bad": 0}
    assert not (out / "history").exists()
    left = [path.name for path in out.iterdir() if path.name.endswith((".partial", ".ready"))]
    assert not left


@pytest.mark.integration
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_ray_workers_make_the_same_masks_and_one_may_be_killed(folders, command, whole):
    out = folders / "ray"
    process = subprocess.Popen(
        command(out, "--engine", "ray", "--workers", "2"), stdout=subprocess.PIPE, text=True
    )

    kill_after(process, out, 1, worker_at_work)
    output = process.communicate()[0]
    assert process.returncode == 1, output
    assert masks(out) == whole
    assert {name: one.status for name, one in read_manifest(out).items()} == {
        **{f"case{n}": "done" for n in range(CASES)},
        "bad": "failed",
    }
