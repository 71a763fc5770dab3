"""A run after another: copies for links, a moved download, what a killed run left, broken disks."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from cobot.datasets.head_neck import HEAD_NECK
from cobot.datasets.head_neck_layout import HeadNeckLayout
from cobot.datasets.prepare import Options, prepare
from cobot.datasets.spleen import SPLEEN, SpleenLayout
from cobot.errors import DatasetError, ImageWriteError

PUBLIC = (SPLEEN, SpleenLayout(training=3, test=1))


@pytest.fixture
def no_hard_links(monkeypatch):
    """Download and studies on two disks."""

    def refuse(*_):
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)


def lay_out(source, studies, public=PUBLIC, **options):
    return prepare(public, (source, studies), Options(**options), lambda done, whole: None)


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


@pytest.mark.parametrize(
    ("number", "told"), [(errno.EIO, "look at its disk"), (errno.EACCES, "change its permissions")]
)
@pytest.mark.parametrize("where", ["download/Task09_Spleen/imagesTr", "studies"])
def test_an_image_that_cannot_be_read_is_refused_and_the_others_laid_out(
    source, studies, tmp_path, monkeypatch, number, told, where
):
    broken = tmp_path / where / "spleen_2.nii.gz"
    broken.parent.mkdir(exist_ok=True)
    if where == "studies":
        shutil.copyfile(source / "Task09_Spleen" / "imagesTr" / broken.name, broken)
    whole = Path.open

    def opened(path, *arguments, **named):
        if path == broken:
            raise OSError(number, os.strerror(number), str(path))
        return whole(path, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        with pytest.raises(DatasetError, match=f"1 of 4 cases.*{broken} .*{told}"):
            lay_out(source, studies)
    assert {path.name[7] for path in studies.glob("spleen_[134].nii.gz")} == set("134")
    assert lay_out(source, studies).laid_out == 1


def test_a_journal_that_cannot_be_written_is_named(source, studies):
    (studies / "prepared-spleen.journal").mkdir(parents=True)
    with pytest.raises(ImageWriteError, match=r"prepared-spleen.journal could not be written"):
        lay_out(source, studies)


def test_a_folder_for_exact_masks_that_cannot_be_made_is_named(downloads, studies, tmp_path):
    source = downloads.head_neck(tmp_path / "download", 1, False)
    (studies / "labels").mkdir(parents=True)
    (studies / "labels" / "exact").write_text("in the way")
    with pytest.raises(ImageWriteError, match="exact/segrap_0000 could not be written"):
        lay_out(source, studies, (HEAD_NECK, HeadNeckLayout(training=1)))


def test_a_moved_download_is_linked_anew(downloads, source, studies, tmp_path, no_hard_links):
    lay_out(source, studies)
    (studies / "labels" / "final" / "spleen_1.nii.gz").write_bytes(b"corrected")
    moved = source.rename(tmp_path / "moved")
    report = lay_out(moved, studies)
    assert (report.laid_out, report.corrected) == (4, ("labels/final/spleen_1.nii.gz",))
    image = moved / "Task09_Spleen" / "imagesTr" / "spleen_1.nii.gz"
    assert (studies / "spleen_1.nii.gz").samefile(image)
    assert lay_out(moved, studies).already == 4


def test_another_download_does_not_take_a_moved_ones_place(
    downloads, source, studies, tmp_path, no_hard_links
):
    lay_out(source, studies)
    moved = source.rename(tmp_path / "moved")
    downloads.image(moved / "Task09_Spleen" / "imagesTr" / "spleen_2.nii.gz", 99)
    with pytest.raises(DatasetError, match="1 of 4 cases.*spleen_2: .*another file"):
        lay_out(moved, studies)
    assert (studies / "spleen_2.nii.gz").is_symlink()


def test_what_a_killed_run_left_is_removed(downloads, studies, tmp_path):
    source = downloads.head_neck(tmp_path / "download", 1, False)
    exact = studies / "labels" / "exact" / "segrap_0000"
    exact.mkdir(parents=True)
    left = [folder / ".0123456789abcdef.partial.nii.gz" for folder in (studies, exact)]
    for path in left:
        path.write_bytes(b"half")
    own = studies / ".notes.partial.nii.gz"
    own.write_bytes(b"the user's")
    lay_out(source, studies, (HEAD_NECK, HeadNeckLayout(training=1)))
    assert not any(path.exists() for path in left)
    assert own.exists()
