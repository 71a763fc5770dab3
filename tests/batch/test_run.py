"""A run from a folder of images to masks, tables and records."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from cobot.batch.manifest import read_manifest, read_record
from cobot.batch.settings import CaseSettings
from cobot.errors import ConfigError, ImageWriteError
from cobot.intensity import window_rule
from cobot.io import read_label_map
from cobot.pipeline import segment_volume
from cobot.planes import acquired_plane
from cobot.prompts import ObjectPrompts, VolumePrompts


def test_a_folder_becomes_a_mask_for_each_image_on_its_own_grid(
    segment, studies, tmp_path, phantoms, model, box_everywhere, mask_of
):
    out = tmp_path / "out"
    summary = segment(studies, out=out, source=box_everywhere("liver", "left kidney"))
    assert dict(summary.counts) == {"done": 3}
    for number, phantom in enumerate(phantoms):
        name = f"case{number}"
        image = nib.load(studies / f"{name}.nii.gz")
        assert nib.load(out / name / f"{name}.nii.gz").affine.tobytes() == image.affine.tobytes()
        prompts = VolumePrompts(
            acquired_plane(phantom.volume.affine),
            (
                ObjectPrompts("liver", box_ijk=np.array([[8, 8, 1], [24, 26, 2]])),
                ObjectPrompts("left kidney", box_ijk=np.array([[9, 8, 1], [25, 26, 2]])),
            ),
        )
        window = window_rule("auto", phantom.volume).resolve(phantom.volume)
        alone = segment_volume(phantom.volume, prompts, model.segmenter, window)
        assert np.array_equal(mask_of(out, name), alone.label_map.voxels)
        assert read_label_map(out / name / f"{name}.nii.gz").labels == {
            1: "liver",
            2: "left kidney",
        }
        record = read_record(out / name / f"{name}.json")
        assert record.status == "done"
        assert record.axis == "k"
        assert record.confidence["liver"] == {
            index: alone.predicted_iou["liver", index] for index in (1, 2)
        }
        assert read_manifest(out)[name] == record


def test_tables_hold_the_numbers_of_the_record(segment, studies, tmp_path, box_everywhere, mask_of):
    out = tmp_path / "out"
    segment(studies / "case0.nii.gz", out=out, source=box_everywhere("liver"))
    record = read_record(out / "case0" / "case0.json")
    voxel_ml = 9 * 9 * 40 / 1000
    counted = np.count_nonzero(mask_of(out, "case0")) * voxel_ml
    assert record.volume_ml == {"liver": round(counted, 3)}
    with (out / "case0" / "volumes.csv").open() as stream:
        assert [row["volume_ml"] for row in csv.DictReader(stream)] == [
            str(record.volume_ml["liver"])
        ]
    with (out / "case0" / "confidence.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["label"], row["axis"], int(row["slice"])) for row in rows] == [
        ("liver", "k", 1),
        ("liver", "k", 2),
    ]
    assert all((out / path).is_file() for path in record.outputs.values())
    assert json.loads((out / "case0" / "case0.json").read_text())["provenance"]["seed"] == 0


def test_the_record_finds_its_image_from_the_output_folder(
    segment, studies, tmp_path, box_everywhere, mask_of
):
    out = tmp_path / "deep" / "out"
    segment(studies / "case0.nii.gz", out=out, source=box_everywhere("liver"))
    record = read_record(out / "case0" / "case0.json")
    assert record.input == "../../studies/case0.nii.gz"


def test_boxes_from_coarse_masks_keep_values_and_names(
    segment, studies, tmp_path, phantoms, mask_prompts
):
    out = tmp_path / "out"
    segment(studies, out=out, source=mask_prompts)
    for number, phantom in enumerate(phantoms):
        found = read_label_map(out / f"case{number}" / f"case{number}.nii.gz")
        assert found.labels == dict(phantom.truth.labels)
        record = read_record(out / f"case{number}" / f"case{number}.json")
        truth = phantom.truth.mask("liver")
        on_slices = np.flatnonzero(truth.any(axis=(0, 1))).tolist()
        assert sorted(record.confidence["liver"]) == on_slices


def test_one_file_for_each_label_where_asked(segment, studies, tmp_path, box_everywhere, mask_of):
    out = tmp_path / "out"
    source = box_everywhere("left kidney", "Größe/Länge")
    segment(studies / "case0.nii.gz", out=out, source=source, settings=CaseSettings(separate=True))
    voxels = mask_of(out, "case0")
    folder = out / "case0"
    assert np.array_equal(nib.load(folder / "left kidney.nii.gz").get_fdata() > 0, voxels == 1)
    assert np.array_equal(nib.load(folder / "Größe_Länge.nii.gz").get_fdata() > 0, voxels == 2)
    assert read_label_map(folder / "Größe_Länge.nii.gz").labels == {1: "Größe/Länge"}


def test_an_error_while_cases_are_handed_out_ends_the_run(
    studies, segment, box_everywhere, tmp_path, monkeypatch
):
    def fail(case):
        raise AssertionError(f"nobody expected this of {case.name}")

    monkeypatch.setattr("cobot.batch.stages.memory_wanted", fail)
    with pytest.raises(AssertionError, match="nobody expected this"):
        segment(studies, out=tmp_path / "out", source=box_everywhere("liver"))


def test_a_result_never_takes_the_place_of_an_image(segment, studies, tmp_path, box_everywhere):
    home = tmp_path / "work"
    scan = home / "scan"
    scan.mkdir(parents=True)
    image = scan / "scan.nii.gz"
    image.write_bytes((studies / "case0.nii.gz").read_bytes())
    before = image.read_bytes()
    with pytest.raises(ConfigError, match="would take the place of .*scan, which holds the image"):
        segment(image, out=home, source=box_everywhere("liver"))
    assert [path.name for path in scan.iterdir()] == ["scan.nii.gz"]
    assert image.read_bytes() == before


def test_a_folder_of_somebody_else_is_not_moved(segment, studies, tmp_path, box_everywhere):
    out = tmp_path / "out"
    (out / "case0").mkdir(parents=True)
    (out / "case0" / "thesis.txt").write_text("mine")
    with pytest.raises(ImageWriteError, match="case0 is there already and is no result of this"):
        segment(studies / "case0.nii.gz", out=out, source=box_everywhere("liver"))
    assert (out / "case0" / "thesis.txt").read_text() == "mine"
