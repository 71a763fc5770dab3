"""Methods compared as typed: real cells in real processes, begun again without repeating."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from cobot.sam.build import build
from safetensors.torch import save_file

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "bench_methods.py"
AFFINE = np.diag([3.0, 3.0, 6.0, 1.0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two folders of two cases of one bright square, and weights."""
    root = tmp_path_factory.mktemp("methods")
    torch.manual_seed(0)
    state = build("tiny").state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, root / "w.safetensors")
    for number, side in enumerate(("train", "train", "validation", "validation")):
        (root / side).mkdir(exist_ok=True)
        labels = np.zeros((32, 32, 3), np.uint8)
        labels[8 + number : 20, 9:21, 1] = 1
        for kind, voxels in (("image", labels * 200.0 + number), ("label", labels)):
            path = root / side / f"{kind}_{number}.nii.gz"
            nib.save(nib.Nifti1Image(voxels.astype(np.int16), AFFINE), path)
    return root


def bench(folder, out, *more):
    arguments = [
        "--data", folder / "train", "--validation-data", folder / "validation",
        "--validation-cases", "1", "--name", "squares", "--labels", "1=box", "--window", "0,250",
        "--weights", folder / "w.safetensors", "--methods", "freeze", "lightweight",
        "--seeds", "1", "--set", "epochs=1", "batch_size=1", "rounds=1", "--device", "cpu",
        "--out", out, *more,
    ]  # fmt: skip
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
    )


def test_cells_are_made_once_and_become_tables(folder, tmp_path):
    first = bench(folder, tmp_path)
    assert first.returncode == 0, first.stderr
    assert "2 cells, 0 finished before" in first.stdout
    split = json.loads((tmp_path / "data" / "squares.json").read_text())
    assert (split["train"], len(split["validation"])) == (["image_0", "image_1"], 1)
    assert (tmp_path / "data" / "squares" / "image_0.nii.gz").is_symlink()
    text = (tmp_path / "methods.md").read_text()
    assert "| lightweight | 0 | " in text
    assert "recipe `default` with 1 epochs" in text
    again = bench(folder, tmp_path)
    assert "2 cells, 2 finished before" in again.stdout
    assert (tmp_path / "methods.md").read_text() == text


def test_links_of_an_earlier_run_follow_the_data(folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import bench_methods

    sides = [folder / "train", tmp_path / "others"]
    sides[1].mkdir()
    for path in sides[0].iterdir():
        (sides[1] / path.name).write_bytes(path.read_bytes())
    links = tmp_path / "links"
    links.mkdir()
    for side in sides:
        assert bench_methods.linked(side, 0, links) == ["image_0", "image_1"]
        assert (links / "image_0.nii.gz").resolve() == (side / "image_0.nii.gz").resolve()


def test_what_is_not_said_is_asked_for(folder, tmp_path):
    refused = bench(folder, tmp_path, "--labels", "")
    assert refused.returncode == 2
    assert "Nobody says what the labels of" in refused.stderr
    assert "give --labels 1=liver,..." in refused.stderr
