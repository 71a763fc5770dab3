"""A run after another: copies for links, a moved download, what a killed run left, broken disks."""

import json
import os
import shutil

import pytest
from cobot.datasets.prepare import Options, prepare
from cobot.datasets.spleen import SPLEEN, SpleenLayout

PUBLIC = (SPLEEN, SpleenLayout(training=3, test=1))


@pytest.fixture
def source(downloads, tmp_path):
    return downloads.spleen(tmp_path / "download", training=3, test=1)


@pytest.fixture
def studies(tmp_path):
    return tmp_path / "studies"


@pytest.fixture
def no_hard_links(monkeypatch):
    """Download and studies on two disks."""

    def refuse(*_):
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)


def lay_out(source, studies, **options):
    return prepare(PUBLIC, (source, studies), Options(**options), lambda done, whole: None)


def placed(report):
    """How each image was placed, as the manifest says."""
    cases = json.loads(report.manifest.read_text())["cases"]
    return {case: files[f"{case}.nii.gz"]["placed"] for case, files in cases.items()}


@pytest.mark.parametrize("symbolic", [True, False])
def test_copies_replace_the_links_of_an_earlier_run(downloads, source, studies, request, symbolic):
    if symbolic:
        request.getfixturevalue("no_hard_links")
    assert set(placed(lay_out(source, studies)).values()) == {
        "symbolic link" if symbolic else "hard link"
    }
    before = downloads.tree(source)
    report = lay_out(source, studies, copy=True)
    assert (report.laid_out, report.already, report.corrected) == (4, 0, ())
    assert set(placed(report).values()) == {"copy"}
    assert downloads.tree(source) == before
    assert lay_out(source, studies, copy=True).already == 4
    whole = downloads.tree(studies)
    shutil.rmtree(source)
    assert downloads.tree(studies) == whole
    assert not any(path.is_symlink() for path in studies.rglob("*"))


def test_a_link_into_an_older_download_is_copied_too(source, studies, tmp_path, no_hard_links):
    lay_out(source, studies)
    newer = shutil.copytree(source, tmp_path / "newer")
    assert set(placed(lay_out(newer, studies, copy=True)).values()) == {"copy"}
    shutil.rmtree(source)
    assert all(path.is_file() for path in studies.glob("*.nii.gz"))
