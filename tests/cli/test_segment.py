"""`cobot segment` from the command line: what it refuses, lists and exits with."""

import json

import pytest
import torch
from cobot.batch.manifest import read_manifest
from cobot.cli.main import app
from cobot.datasets.phantom import abdomen_phantom
from cobot.errors import CobotError
from cobot.io.image_writer import write_volume
from cobot.sam.build import build
from safetensors.torch import save_file
from typer.testing import CliRunner

BOX = ("--box", "left kidney=8,8,1,24,26,2")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(build("tiny").state_dict(), path)
    return path


@pytest.fixture
def folder(tmp_path):
    """One image and one file that is none."""
    place = tmp_path / "in"
    place.mkdir()
    small = abdomen_phantom(0, shape=(40, 36, 4), spacing_mm=(9.0, 9.0, 40.0))
    write_volume(small.volume, place / "good one.nii.gz")
    (place / "bad.nii.gz").write_bytes(b"no image")
    return place


def run(*arguments):
    return CliRunner().invoke(app, ["segment", *map(str, arguments)], catch_exceptions=False)


def refusal(*arguments):
    with pytest.raises(CobotError) as caught:
        run(*arguments)
    return str(caught.value)


def test_done_and_failed_images_give_1_and_only_done_ones_0(folder, weights, tmp_path):
    out = tmp_path / "out"
    arguments = (folder, "-o", out, *BOX, "--weights", weights, "--device", "cpu")
    first = run(*arguments)
    assert first.exit_code == 1
    assert "1 done, 1 failed" in first.output
    assert "failed: bad:" in first.output
    assert (out / "good one" / "good one.nii.gz").is_file()
    (folder / "bad.nii.gz").unlink()
    second = run(*arguments)
    assert second.exit_code == 0
    assert "1 done before" in second.output
    assert read_manifest(out)["good one"].provenance.prompts == "boxes of the command line"


def test_a_dry_run_lists_and_writes_nothing(folder, weights, tmp_path):
    out = tmp_path / "out"
    shown = run(folder, "-o", out, *BOX, "--weights", weights, "--device", "cpu", "--dry-run")
    assert shown.exit_code == 0
    assert "2 of 2 would be segmented. Nothing was done." in shown.output
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "0 sources of prompts were named; expected one of --prompts FILE"),
        ((*BOX, "--auto"), "2 sources of prompts"),
        (("--auto",), "carries no label prompts"),
        ((*BOX, "--window", "nonsense"), "Unknown window 'nonsense'"),
        ((*BOX, "--max-memory", "many"), "--max-memory 'many' cannot be read"),
        ((*BOX, "--labels", "right kidney"), "names right kidney; known are left kidney"),
        ((*BOX, "--truth", "."), "--truth goes with --report"),
        (("--prompts-from", "nowhere"), "--prompts-from nowhere is not a folder"),
        (("--prompts", "nowhere.json"), "--prompts nowhere.json cannot be read"),
        (("--box", "liver=1,2"), "cannot be read; expected LABEL="),
        (("--box", "a\tb=1,1,1,2,2,2"), "--box 'a\\tb=1,1,1,2,2,2': label 'a\\tb' is not a name"),
        ((*BOX, "--report", "--truth", "nowhere"), "--truth nowhere is not a folder; give the one"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(folder, tmp_path, options, message):
    assert message in refusal(folder, "-o", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_truths_is_refused_before_anything_is_written(folder, tmp_path):
    (tmp_path / "truths").mkdir()
    out = tmp_path / "out"
    said = refusal(folder, "-o", out, *BOX, "--report", "--truth", tmp_path / "truths")
    assert f"{tmp_path / 'truths'} holds no mask; expected files that end in" in said
    assert not out.exists()


@pytest.mark.parametrize("row", ["2", "2,", "2, "])
def test_a_row_of_a_list_without_a_path_is_refused_with_its_line(folder, tmp_path, row):
    listed = tmp_path / "list.csv"
    listed.write_text(f"id,image\n\n1,in/good one.nii.gz\n{row}\n")
    said = refusal(listed, "-o", tmp_path / "out", *BOX)
    assert f"{listed} cannot be read as a list of images (line 4, {row!r}, has no path" in said
    assert "in column 2; add the path or take the line out); expected a .csv" in said


def test_prompts_may_come_from_a_file(folder, weights, tmp_path):
    prompts = tmp_path / "prompts.json"
    objects = [{"label": "Größe 1", "boxes": [[[8, 8, 1], [24, 26, 2]]]}]
    prompts.write_text(json.dumps({"cases": {"good one.nii.gz": {"objects": objects}}}))
    out = tmp_path / "out"
    shown = run(
        folder / "good one.nii.gz", "-o", out, "--prompts", prompts,
        "--weights", weights, "--device", "cpu", "--separate",
    )  # fmt: skip
    assert shown.exit_code == 0
    assert read_manifest(out)["good one"].labels == {1: "Größe 1"}
    assert (out / "good one" / "Größe 1.nii.gz").is_file()
