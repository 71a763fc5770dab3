"""From small trees in the public layouts to folders of studies; killed, damaged and corrected."""

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cobot.datasets import prepare_case
from cobot.datasets.abdomen import ABDOMEN, AbdomenLayout
from cobot.datasets.head_neck import HEAD_NECK, REGIONS, exact_mask
from cobot.datasets.head_neck_layout import HeadNeckLayout
from cobot.datasets.ledger import Ledger
from cobot.datasets.prepare import Options, prepare
from cobot.datasets.spleen import SPLEEN, SpleenLayout
from cobot.errors import DatasetError, ImageWriteError
from cobot.io.images import read_label_map, read_volume, write_label_map

PUBLIC = (SPLEEN, SpleenLayout(training=3, test=1))


def lay_out(source, studies, public=PUBLIC, progress=lambda done, whole: None, **options):
    return prepare(public, (source, studies), Options(**options), progress)


def laid_out_names(downloads, studies):
    return [name for name in downloads.tree(studies) if not name.startswith("prepared-")]


def test_images_are_links_and_labels_files_of_their_own(downloads, source, studies):
    told = []
    before = downloads.tree(source)
    report = lay_out(source, studies, progress=lambda *done: told.append(done))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (report.laid_out, report.already, report.missing, report.corrected) == (4, 0, (), ())
    labels = [f"labels/final/spleen_{n}.nii.gz" for n in (1, 2, 3)]
    images = [f"spleen_{n}.nii.gz" for n in (1, 2, 3, 4)]
    assert laid_out_names(downloads, studies) == labels + images
    task = source / "Task09_Spleen"
    assert (studies / "spleen_1.nii.gz").samefile(task / "imagesTr" / "spleen_1.nii.gz")
    label = studies / labels[0]
    assert not label.samefile(task / "labelsTr" / "spleen_1.nii.gz")
    assert label.stat().st_nlink == 1
    found = read_label_map(label)
    assert found.labels == {1: "spleen"}
    found.require_same_grid(read_volume(studies / "spleen_1.nii.gz"))
    assert np.array_equal(found.mask("spleen"), downloads.phantom().truth.mask("spleen"))
    assert downloads.tree(source) == before


def test_the_manifest_has_the_sum_of_every_file(downloads, source, studies):
    report = lay_out(source, studies)
    content = json.loads(report.manifest.read_text())
    assert content["labels"] == {"1": "spleen"}
    assert content["terms"]["licence"] == "CC-BY-SA 4.0"
    files = {name: file for case in content["cases"].values() for name, file in case.items()}
    on_disk = downloads.tree(studies)
    assert sorted([*files, report.manifest.name]) == sorted(on_disk)
    for name, file in files.items():
        assert file["sha256"] == hashlib.sha256(on_disk[name]).hexdigest()
        assert file["size_bytes"] == len(on_disk[name])
    assert files["spleen_4.nii.gz"]["sources"] == ["Task09_Spleen/imagesTs/spleen_4.nii.gz"]


def test_monai_labels_rules_find_images_and_labels(source, studies):
    """Names alone: an image `x.nii.gz` beside `labels/final/x.nii.gz`, and nothing else."""
    lay_out(source, studies)
    images = {path.name for path in studies.glob("*.nii*")}
    assert {path.name for path in (studies / "labels" / "final").iterdir()} < images
    assert {path.name for path in (studies / "labels").iterdir()} == {"final"}


def test_where_nothing_can_be_linked_files_are_copied(downloads, source, studies, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    lay_out(source, studies)
    assert (studies / "spleen_1.nii.gz").is_symlink()
    monkeypatch.setattr(os, "symlink", refuse)
    other = studies.with_name("other")
    report = lay_out(source, other)
    copied = other / "spleen_1.nii.gz"
    assert not copied.is_symlink()
    assert copied.stat().st_nlink == 1
    placed = json.loads(report.manifest.read_text())["cases"]["spleen_1"]["spleen_1.nii.gz"]
    assert placed["placed"] == "copy"
    assert lay_out(source, other).already == 4
    assert lay_out(source, studies).already == 4


def test_copies_on_demand(source, studies):
    lay_out(source, studies, copy=True)
    assert (studies / "spleen_1.nii.gz").stat().st_nlink == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from cobot.datasets.prepare import Options, prepare
from cobot.datasets.spleen import SPLEEN, SpleenLayout

def progress(done, whole):
    if done == 2:
        os.kill(os.getpid(), signal.SIGKILL)

folders = Path(sys.argv[1]), Path(sys.argv[2])
prepare((SPLEEN, SpleenLayout(3, 1)), folders, Options(), progress)
"""


def test_killed_it_goes_on_and_repeats_nothing(downloads, source, studies, monkeypatch):
    killed = subprocess.run([sys.executable, "-c", KILLED, source, studies], check=False)
    assert killed.returncode == -signal.SIGKILL
    first = downloads.tree(studies)
    assert "prepared-spleen.journal" in first
    looked_at = []
    monkeypatch.setattr(
        prepare_case, "whole_sha256", lambda path: looked_at.append(path.name) or "sum"
    )
    report = lay_out(source, studies)
    assert (report.laid_out, report.already) == (2, 2)
    assert looked_at == ["spleen_3.nii.gz", "spleen_4.nii.gz"]
    undisturbed = studies.with_name("undisturbed")
    lay_out(source, undisturbed)
    assert laid_out_names(downloads, studies) == laid_out_names(downloads, undisturbed)
    assert not (studies / ".prepare").exists()


class CutError(Exception):
    """Stands for a power cut."""


@pytest.mark.parametrize("step", ["place", "publish", "finish_case", "finish"])
def test_cut_off_at_any_step_it_goes_on(downloads, source, studies, monkeypatch, step):
    def cut(*_):
        raise CutError

    owner = Ledger if step.startswith("finish") else prepare_case
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, cut)
        with pytest.raises(CutError):
            lay_out(source, studies)
    report = lay_out(source, studies)
    assert report.laid_out + report.already == 4
    assert len(laid_out_names(downloads, studies)) == 7
    assert lay_out(source, studies).already == 4


def test_a_journal_line_cut_short_costs_its_case_only(source, studies, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "finish", lambda *_: None)
        lay_out(source, studies)
    journal = studies / "prepared-spleen.journal"
    journal.write_bytes(journal.read_bytes()[:-40])
    report = lay_out(source, studies)
    assert (report.laid_out, report.already) == (1, 3)


def test_a_finished_run_writes_nothing_anew(source, studies):
    lay_out(source, studies)
    stamps = {path: path.stat().st_mtime_ns for path in studies.rglob("*.nii.gz")}
    assert lay_out(source, studies).laid_out == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in studies.rglob("*.nii.gz")}


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_corrections_stay(downloads, source, studies, suffix):
    lay_out(source, studies)
    label = studies / "labels" / "final" / "spleen_2.nii.gz"
    truth = read_label_map(label)
    truth.voxels[0, 0, 0] = 1
    label.unlink()
    corrected = label.with_name(f"spleen_2{suffix}")
    write_label_map(truth, corrected)
    # Another file of the case is lost: the case is laid out again, its correction kept.
    (studies / "spleen_2.nii.gz").unlink()
    report = lay_out(source, studies)
    assert report.corrected == ("labels/final/spleen_2.nii.gz",)
    assert (report.laid_out, report.already) == (1, 3)
    assert read_label_map(corrected).voxels[0, 0, 0] == 1
    assert label.exists() == (suffix == ".nii.gz")
    assert read_label_map(source / "Task09_Spleen/labelsTr/spleen_2.nii.gz").voxels[0, 0, 0] == 0


def test_lost_files_are_laid_out_again(downloads, source, studies):
    lay_out(source, studies)
    whole = downloads.tree(studies)
    (studies / "labels" / "final" / "spleen_1.nii.gz").unlink()
    (studies / "spleen_3.nii.gz").unlink()
    assert lay_out(source, studies).laid_out == 2
    assert sorted(downloads.tree(studies)) == sorted(whole)


@pytest.mark.parametrize("name", ["spleen_1.nii.gz", "labels/final/spleen_1.nii.gz"])
def test_another_file_is_never_overwritten(downloads, source, studies, name):
    other = studies / name
    if name.startswith("labels"):
        downloads.mask(other, {1: 1})
    else:
        downloads.image(other, 99)
    before = other.read_bytes()
    with pytest.raises(DatasetError, match="1 of 4 cases were refused.*spleen_1: .*another file"):
        lay_out(source, studies)
    assert other.read_bytes() == before
    assert (studies / "spleen_2.nii.gz").exists()
    other.unlink()
    report = lay_out(source, studies)
    assert (report.laid_out, report.already) == (1, 3)


def test_equal_files_count_as_laid_out(downloads, source, studies):
    task = source / "Task09_Spleen"
    studies.mkdir()
    (studies / "spleen_1.nii.gz").write_bytes((task / "imagesTr/spleen_1.nii.gz").read_bytes())
    downloads.mask(studies / "labels" / "final" / "spleen_1.nii.gz", {2: 1})
    assert lay_out(source, studies).laid_out == 4


def test_a_dangling_link_is_not_followed(source, studies):
    studies.mkdir()
    (studies / "spleen_1.nii.gz").symlink_to("gone")
    with pytest.raises(DatasetError, match="another file"):
        lay_out(source, studies)
    assert not (studies / "gone").exists()


def test_an_incomplete_download_is_refused_before_anything_is_written(source, studies):
    task = source / "Task09_Spleen"
    for name in (
        "imagesTr/spleen_1",
        "labelsTr/spleen_1",
        "labelsTr/spleen_2",
        "imagesTs/spleen_4",
    ):
        (task / f"{name}.nii.gz").unlink()
    refusal = (
        "lacks 4 of MSD Task09_Spleen's files: imagesTr/spleen_1.nii.gz, labelsTr/spleen_1.nii.gz, "
        "labelsTr/spleen_2.nii.gz and 1 more. .*the 1 whole cases with --incomplete"
    )
    with pytest.raises(DatasetError, match=refusal):
        lay_out(source, studies)
    assert not studies.exists()
    report = lay_out(source, studies, incomplete=True)
    assert (report.laid_out, len(report.missing)) == (1, 4)
    (task / "imagesTr" / "spleen_3.nii.gz").unlink()
    with pytest.raises(DatasetError, match="lacks 5 of .*unpack the rest.$"):
        lay_out(source, studies, incomplete=True)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def unpacked_short(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-100]))


def changed_inside(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(bytes(data))


def not_packed(path: Path) -> None:
    path.write_bytes(gzip.decompress(path.read_bytes()))


@pytest.mark.parametrize("damage", [cut_short, unpacked_short, changed_inside, not_packed])
@pytest.mark.parametrize("folder", ["imagesTr", "labelsTr"])
def test_damaged_files_are_refused_and_the_others_laid_out(
    downloads, source, studies, damage, folder
):
    broken = source / "Task09_Spleen" / folder / "spleen_2.nii.gz"
    whole = broken.read_bytes()
    damage(broken)
    with pytest.raises(DatasetError, match=f"1 of 4 cases.*spleen_2: .*{folder}/spleen_2.nii.gz"):
        lay_out(source, studies)
    assert not (studies / "spleen_2.nii.gz").exists()
    assert len(list(studies.glob("*.nii.gz"))) == 3
    broken.write_bytes(whole)
    assert lay_out(source, studies).laid_out == 1


def test_files_of_several_gzip_members_are_whole(downloads, source, studies):
    image = source / "Task09_Spleen" / "imagesTr" / "spleen_1.nii.gz"
    data = gzip.decompress(image.read_bytes())
    image.write_bytes(gzip.compress(data[:500]) + gzip.compress(data[500:]) + bytes(7))
    assert lay_out(source, studies).laid_out == 4


def test_foreign_values_and_grids_are_refused_together(downloads, source, studies):
    labels = source / "Task09_Spleen" / "labelsTr"
    downloads.mask(labels / "spleen_1.nii.gz", {1: 1, 2: 2})
    downloads.write(labels / "spleen_3.nii.gz", np.ones((24, 20, 5), np.uint8))
    refusal = r"2 of 4 cases.*spleen_1: .*values \[2\].*spleen_3: .*not on the image's grid"
    with pytest.raises(DatasetError, match=refusal):
        lay_out(source, studies)
    assert not (studies / "labels" / "final" / "spleen_1.nii.gz").exists()


def test_two_data_sets_do_not_share_a_folder(downloads, source, studies, tmp_path):
    lay_out(source, studies)
    other = downloads.abdomen(tmp_path / "abdomen", images=1, masks=1)
    public = (ABDOMEN, AbdomenLayout(images=1, masks=1))
    with pytest.raises(DatasetError, match="holds the data set spleen; .*a folder of its own"):
        lay_out(other, studies, public)


def test_studies_and_download_lie_apart(source):
    for studies in (source, source / "studies", source.parent):
        with pytest.raises(DatasetError, match="lie in one another"):
            lay_out(source, studies)


def test_a_damaged_manifest_is_refused_and_made_anew(source, studies):
    manifest = lay_out(source, studies).manifest
    whole = manifest.read_text()
    manifest.write_text(whole[:-50])
    with pytest.raises(DatasetError, match="prepared-spleen.json is damaged.*Remove it"):
        lay_out(source, studies)
    manifest.unlink()
    assert lay_out(source, studies).laid_out == 4
    assert manifest.read_text() == whole


def test_an_unwritable_folder_is_refused(source, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ImageWriteError, match="could not be made"):
        lay_out(source, tmp_path / "file" / "studies")


def test_abdomen_images_lose_their_channel_number(downloads, studies, tmp_path):
    source = downloads.abdomen(tmp_path / "download", images=3, masks=2)
    public = (ABDOMEN, AbdomenLayout(images=3, masks=2))
    assert lay_out(source, studies, public).laid_out == 3
    names = laid_out_names(downloads, studies)
    assert names == [
        "Case_00001.nii.gz", "Case_00002.nii.gz", "Case_00003.nii.gz",
        "labels/final/Case_00001.nii.gz", "labels/final/Case_00002.nii.gz",
    ]  # fmt: skip
    assert read_label_map(studies / names[3]).labels == ABDOMEN.labels
    # A mask that comes later is added to its study.
    downloads.mask(source / "Mask" / "Case_00003.nii.gz", {1: 1})
    assert lay_out(source, studies, public).laid_out == 1


@pytest.mark.parametrize("maps", [True, False])
def test_head_neck_keeps_both_cts_and_whole_structures(downloads, studies, tmp_path, maps):
    source = downloads.head_neck(tmp_path / "download", 1, maps)
    public = (HEAD_NECK, HeadNeckLayout(training=1))
    lay_out(source, studies, public)
    final = studies / "labels" / "final"
    plain, contrast = (final / f"segrap_0000{end}.nii.gz" for end in ("", "_contrast"))
    assert np.array_equal(read_label_map(plain).voxels, read_label_map(contrast).voxels)
    assert not plain.samefile(contrast)
    organs, tumours = downloads.regions(0)
    exact = studies / "labels" / "exact" / "segrap_0000"
    brain = np.isin(organs, REGIONS["Brain"])
    assert np.array_equal(exact_mask(exact, "Brain"), brain)
    painted = read_label_map(plain)
    assert np.array_equal(painted.mask("Brain"), (organs == 1) & (tumours == 0))
    hu = nib.load(studies / "segrap_0000_contrast.nii.gz").get_fdata()
    assert np.array_equal(hu, organs + 100.0)
    assert lay_out(source, studies, public).already == 1


def test_label_names_survive_in_the_header(source, studies):
    renamed = replace(SPLEEN, title="other words")
    lay_out(source, studies, (renamed, PUBLIC[1]))
    assert read_label_map(studies / "labels/final/spleen_1.nii.gz").labels == {1: "spleen"}
