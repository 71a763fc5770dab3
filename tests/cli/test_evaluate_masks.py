"""`cobot evaluate masks` as a user types it."""

import csv
import json
from datetime import datetime, timezone

import numpy as np
import pytest
from cobot.batch.manifest import Manifest
from cobot.batch.record import CaseRecord
from cobot.cli.evaluate import app
from cobot.errors import ConfigError, GridMismatchError, ImageWriteError
from cobot.io import read_label_map, write_label_map
from cobot.measures import compare
from cobot.volume import LabelMap
from typer.testing import CliRunner


def write(path, start, labels, value=1, spacing=(1.0, 1.0, 2.0), shape=(20, 18, 16)):
    voxels = np.zeros(shape, np.uint8)
    if start is not None:
        voxels[start : start + 8, 4:12, 4:12] = value
    path.parent.mkdir(exist_ok=True)
    write_label_map(LabelMap(voxels, np.diag([*spacing, 1.0]), labels), path)


@pytest.fixture
def folders(tmp_path):
    """Two cases shifted by one and two voxels, and one without a prediction."""
    names = {1: "liver", 2: "spleen"}
    for case, shift in (("a", 1), ("b", 2)):
        write(tmp_path / "pred" / f"{case}.nii.gz", 4 + shift, {7: "Liver", 8: "spleen"}, 7)
        write(tmp_path / "true" / f"label_{case}.nii.gz", 4, names)
    write(tmp_path / "true" / "label_c.nii.gz", 4, names)
    return tmp_path


def run(folder, *options):
    return CliRunner().invoke(
        app,
        ["masks", str(folder / "pred"), str(folder / "true"), "--out", str(folder / "out")]
        + list(options),
        catch_exceptions=False,
    )


def test_figures_files_and_what_is_missing(folders):
    result = run(folders, "--tolerance-mm", "1")
    assert result.exit_code == 0
    # Seven and six of eight layers are common: Dice 0.875 and 0.75; HD95 1 and 2 mm.
    assert "| liver | 2 | 0.812 (0.750 to 0.875) |" in result.output
    assert "| mean of labels | 2 | 0.812 (" in result.output
    assert "1 truths without a prediction (not in the figures): c" in result.output
    with (folders / "out" / "per_case.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["label"] == "liver"]
    assert [float(row["dice"]) for row in rows] == pytest.approx([0.875, 0.75])
    assert [float(row["hd95_mm"]) for row in rows] == pytest.approx([1.0, 2.0])
    assert [float(row["surface_dice"]) for row in rows][0] == 1.0
    assert [float(row["truth_ml"]) for row in rows] == pytest.approx([1.024, 1.024])
    summary = json.loads((folders / "out" / "summary.json").read_text())
    assert summary["setting"]["truths_without_prediction"] == ["c"]
    assert summary["labels"]["spleen"]["presence"]["neither"] == 2
    assert summary["labels"]["spleen"]["dice"] is None
    assert summary["labels"]["liver"]["dice"]["cases"] == 2


def test_a_prediction_stored_in_another_direction_has_the_same_figures(folders):
    straight = run(folders, "--tolerance-mm", "1").output
    for file in (folders / "pred").iterdir():
        found = read_label_map(file)
        other = found.affine @ np.diag([1, -1, -1, 1])
        write_label_map(found.turned_onto(other), file)
    assert read_label_map(folders / "pred" / "a.nii.gz").affine[1, 1] == -1
    assert run(folders, "--tolerance-mm", "1").output == straight


def test_a_second_run_with_the_same_seed_is_equal(folders):
    run(folders)
    first = (folders / "out" / "summary.json").read_bytes()
    run(folders)
    assert (folders / "out" / "summary.json").read_bytes() == first


def test_a_file_beside_the_truth_names_its_values(tmp_path):
    write(tmp_path / "pred" / "a.nii.gz", 5, {3: "liver"}, 3)
    write(tmp_path / "true" / "a.nii.gz", 4, {1: "label_1"})
    with pytest.raises(ConfigError, match="does not name its labels"):
        run(tmp_path)
    (tmp_path / "true" / "dataset.json").write_text('{"labels": {"1": "liver"}}')
    assert "| liver | 1 | 0.875 |" in run(tmp_path).output
    assert "| liver | 1 | 0.875 |" in run(tmp_path, "--labels", "1=liver").output


def two_blocks(path, names, named):
    """Write a liver of 512 voxels and a spleen of 64, numbered as `names` says."""
    values = {name: value for value, name in names.items()}
    voxels = np.zeros((20, 18, 16), np.uint8)
    voxels[:8, :8, :8], voxels[12:16, 12:16, 12:16] = values["liver"], values["spleen"]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_label_map(LabelMap(voxels, np.eye(4), names if named else {}), path)


def datastore(folder):
    """Two submissions of one annotator, each with numbers of its own, and predictions as good."""
    objects = {}
    for case, names in (("a", {1: "liver", 2: "spleen"}), ("b", {1: "spleen", 2: "liver"})):
        prediction = folder / "pred" / f"{case}.nii.gz"
        final = folder / "true" / "labels" / "final" / f"{case}.nii.gz"
        two_blocks(prediction, {1: "liver", 2: "spleen"}, named=True)
        two_blocks(final, names, named=False)
        (folder / "true" / f"{case}.nii.gz").touch()
        info = {"label_names": {name: value for value, name in names.items()}}
        objects[case] = {"labels": {"final": {"info": info}}}
    (folder / "true" / "datastore_v2.json").write_text(json.dumps({"objects": objects}))


@pytest.mark.parametrize("options", [(), ("--labels", "1=liver,2=spleen")])
@pytest.mark.parametrize("place", ["true", "true/labels/final"])
def test_names_submitted_with_each_correction_say_what_its_values_are(tmp_path, place, options):
    datastore(tmp_path)
    command = ["masks", str(tmp_path / "pred"), str(tmp_path / place), *options]
    command += ["--out", str(tmp_path / "out")]
    CliRunner().invoke(app, command, catch_exceptions=False)
    with (tmp_path / "out" / "per_case.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert sorted((row["case"], row["label"], row["dice"]) for row in rows) == [
        (case, label, "1") for case in "ab" for label in ("liver", "spleen")
    ]


def test_structures_of_which_no_file_holds_a_voxel_are_refused(folders):
    """One case may lack what is wanted; if all do, it was meant otherwise."""
    with pytest.raises(ConfigError, match="a voxel of Niere. They name liver, spleen"):
        run(folders, "--labels", "1=Niere")
    assert not any((folders / "out").iterdir())
    assert run(folders, "--labels", "1=liver,2=Niere").exit_code == 0


def test_another_grid_is_refused_before_anything_is_written(folders):
    write(folders / "pred" / "b.nii.gz", 4, {1: "liver"}, shape=(20, 18, 17))
    with pytest.raises(GridMismatchError, match="b.nii.gz and .*label_b.nii.gz"):
        run(folders)
    assert not (folders / "out").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(
    folders, monkeypatch
):
    monkeypatch.setattr(compare, "compare_case", lambda *_: pytest.fail("measured"))
    (folders / "out").touch()
    with pytest.raises(ImageWriteError, match="out cannot be made"):
        run(folders)


def test_the_output_of_a_batch_is_read_by_its_manifest(folders):
    out = folders / "batch"
    (out / "a").mkdir(parents=True)
    (folders / "pred" / "a.nii.gz").rename(out / "a" / "a.nii.gz")
    record = CaseRecord(
        case="a", status="done", input="a", outputs={"mask": "a/a.nii.gz"},
        finished_at=datetime(2026, 1, 2, tzinfo=timezone.utc),
    )  # fmt: skip
    Manifest(out).append(record)
    out.rename(folders / "pred" / "batch")
    result = CliRunner().invoke(
        app,
        ["masks", str(folders / "pred" / "batch"), str(folders / "true")]
        + ["--out", str(folders / "out")],
        catch_exceptions=False,
    )
    assert "| liver | 1 | 0.875 |" in result.output
    assert "2 truths without a prediction (not in the figures): b, c" in result.output
