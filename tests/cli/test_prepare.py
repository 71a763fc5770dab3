"""`cobot prepare` on the spleen data set's full number of tiny cases."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cobot.cli.main import app
from cobot.errors import ConfigError, DatasetError
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Task09_Spleen with its 41 and 20 cases, each of a few voxels."""
    root = tmp_path_factory.mktemp("download") / "Task09_Spleen"
    names = [f"spleen_{number}.nii.gz" for number in range(1, 62)]
    for folder, wanted in (
        ("imagesTr", names[:41]),
        ("labelsTr", names[:41]),
        ("imagesTs", names[41:]),
    ):
        (root / folder).mkdir(parents=True)
        for number, name in enumerate(wanted):
            voxels = np.full((4, 4, 2), number if folder != "labelsTr" else 1, np.int16)
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), root / folder / name)
    index = {
        "labels": {"0": "background", "1": "spleen"},
        "training": [
            {"image": f"imagesTr/{name}", "label": f"labelsTr/{name}"} for name in names[:41]
        ],
        "test": [f"imagesTs/{name}" for name in names[41:]],
    }
    (root / "dataset.json").write_text(json.dumps(index))
    return root


def run(*arguments):
    return CliRunner().invoke(app, ["prepare", *map(str, arguments)])


def test_it_lays_out_says_on_which_terms_and_what_comes_next(source, tmp_path):
    studies = tmp_path / "studies"
    done = run("spleen", source, studies)
    assert done.exit_code == 0, done.output
    for text in ("CC-BY-SA 4.0", "61 cases laid out, 0 were there", f"serve --studies {studies}"):
        assert text in done.output
    assert len(list(studies.glob("*.nii.gz"))) == 61
    assert len(list((studies / "labels" / "final").iterdir())) == 41
    again = run("spleen", source, studies)
    assert "0 cases laid out, 61 were there already" in again.output


def test_refusals(source, tmp_path):
    studies = tmp_path / "studies"
    refused = run("abdomen", source, studies)
    assert isinstance(refused.exception, DatasetError)
    assert "the strictest" in refused.output
    unknown = run("knee", source, studies)
    assert "expected one of abdomen, spleen, head-neck" in str(unknown.exception)
    asked = run("head-neck", source, studies, "--download")
    assert isinstance(asked.exception, ConfigError)
    assert "Only spleen can be downloaded" in str(asked.exception)
    assert not studies.exists()
