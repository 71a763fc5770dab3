"""From what a user names to the images meant."""

import json
import os
import sys
from pathlib import Path

import pytest
from cobot.batch.case_names import case_name, distinct
from cobot.batch.inputs import _files, find_inputs
from cobot.batch.partners import PartnerFiles
from cobot.errors import ConfigError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not looked into here")
    return path


def names(*texts):
    return [case.name for case in find_inputs([str(text) for text in texts]).cases]


def test_a_folder_is_searched_to_its_bottom_and_only_for_images(tmp_path):
    for name in ("b.nii.gz", "site 1/a.nii", "site 1/deep/c.nrrd", "d.mha", "notes.txt", ".x.nii"):
        touch(tmp_path / name)
    found = find_inputs([str(tmp_path)])
    assert [case.name for case in found.cases] == ["b", "d", "site 1__a", "site 1__deep__c"]
    assert [case.relative for case in found.cases][2] == "site 1/a.nii"
    assert found.passed_over == {".txt": 1}


def test_links_are_followed_once_and_loops_end(tmp_path):
    touch(tmp_path / "real" / "a.nii.gz")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real" / "self.nii.gz").symlink_to(tmp_path / "real" / "self.nii.gz")
    (tmp_path / "linked").symlink_to(tmp_path / "real", target_is_directory=True)
    assert names(tmp_path / "linked") == ["a", "self"]


def test_a_file_under_two_names_is_one_case_and_the_other_name_is_told(tmp_path):
    first = touch(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii.gz").symlink_to(first)
    (tmp_path / "c.nii.gz").hardlink_to(first)
    found = find_inputs([str(tmp_path), str(first)])
    assert [case.name for case in found.cases] == ["a"]
    assert [(one.name, one.is_fault) for one in found.unusable] == [("b", False), ("c", False)]
    assert all(f"the same file as {first}" in one.reason for one in found.unusable)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every name is Unicode")
def test_a_name_that_is_no_utf8_is_a_fault_and_stops_nothing(tmp_path):
    """An old share's: one of thousands must not end the batch when its record is written."""
    for name in (b"m\xfcller.nii.gz", b"m\xfbller.nii.gz"):
        touch(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))
    touch(tmp_path / "good.nii.gz")
    found = find_inputs([str(tmp_path)])
    assert [case.name for case in found.cases] == ["good"]
    assert [one.is_fault for one in found.unusable] == [True, True]
    assert len({one.name for one in found.unusable}) == 2
    for one in found.unusable:
        assert one.name.startswith("m\ufffdller__")
        assert "not written in UTF-8" in one.reason
        f"{one.name}{one.path}{one.reason}".encode()


def test_links_to_nowhere_are_each_a_case_that_will_be_reported(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        (tmp_path / name).symlink_to(tmp_path / "gone.nii.gz")
    assert names(tmp_path) == ["a", "b"]


def test_patterns_files_and_folders_may_be_mixed_without_repeats(tmp_path):
    touch(tmp_path / "x" / "image_1.nii.gz")
    touch(tmp_path / "x" / "label_1.nii.gz")
    pattern = tmp_path / "**" / "image_*.nii.gz"
    assert names(pattern, tmp_path / "x" / "image_1.nii.gz") == ["image_1"]


def test_lists_name_paths_from_their_own_folder(tmp_path):
    touch(tmp_path / "a" / "one.nii.gz")
    touch(tmp_path / "a" / "two.nii.gz")
    plain = tmp_path / "plain.csv"
    plain.write_text("a/one.nii.gz\na/two.nii.gz\n")
    table = tmp_path / "table.csv"
    table.write_text("id,image\n7,a/two.nii.gz\n")
    document = tmp_path / "list.json"
    document.write_text(json.dumps(["a/one.nii.gz", {"image": "a/two.nii.gz"}]))
    assert names(plain) == ["one", "two"]
    assert names(table) == ["two"]
    assert names(document) == ["one", "two"]


def test_a_listed_file_that_is_not_there_is_reported_and_the_rest_goes_on(tmp_path):
    touch(tmp_path / "one.nii.gz")
    listed = tmp_path / "list.csv"
    listed.write_text("one.nii.gz\ngone.nii.gz\n")
    found = find_inputs([str(listed)])
    assert [case.name for case in found.cases] == ["one"]
    (missing,) = found.unusable
    assert missing.is_fault
    assert "does not exist" in missing.reason


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.json", '{"a": 1}', "holds no list"),
        ("list.json", "[3]", "names no path"),
        ("list.json", "[", "cannot be read as a list"),
        ("list.csv", "\n\n", "lists no image"),
    ],
)
def test_lists_of_another_form_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        find_inputs([str(tmp_path / name)])


def test_a_name_that_stands_for_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not exist and matches nothing"):
        find_inputs([str(tmp_path / "nowhere")])


def test_cases_of_one_name_are_told_apart_and_keep_their_names(tmp_path):
    for name in ("a.nii.gz", "a.nrrd", "A.mha"):
        touch(tmp_path / name)
    first = names(tmp_path)
    assert len({name.casefold() for name in first}) == 3
    assert all(name.casefold().startswith("a__") for name in first)
    assert names(tmp_path) == first


def test_voxels_beside_a_detached_header_belong_to_it(tmp_path):
    (tmp_path / "a.mhd").write_text("NDims = 3\nElementDataFile = a.raw\n")
    touch(tmp_path / "a.raw")
    (case,) = find_inputs([str(tmp_path)]).cases
    assert [file.name for file in case.files] == ["a.mhd", "a.raw"]


def test_names_are_safe_for_every_system():
    assert case_name("a/b:c") == "a__b_c"
    assert case_name("history") == "history_"
    assert case_name("..") == "_"
    assert len(case_name("ä" * 300).encode()) <= 160
    assert case_name("x" * 300) != case_name("x" * 301)
    assert distinct([("a", "1"), ("b", "2")]) == ["a", "b"]


def test_a_partner_is_known_by_the_images_name(tmp_path):
    image = touch(tmp_path / "images" / "sub" / "image_07.nii.gz")
    masks = PartnerFiles(tmp_path / "masks")
    assert masks.of(image, "sub/image_07.nii.gz") is None
    flat = touch(tmp_path / "masks" / "label_07.nrrd")
    assert masks.of(image, "sub/image_07.nii.gz") == flat
    exact = touch(tmp_path / "masks" / "sub" / "image_07.nii")
    assert masks.of(image, "sub/image_07.nii.gz") == exact
    channel = touch(tmp_path / "images" / "liver_1_0000.nii.gz")
    label = touch(tmp_path / "masks" / "liver_1.nii.gz")
    assert masks.of(channel, "liver_1_0000.nii.gz") == label


def test_the_image_itself_is_no_partner(tmp_path):
    image = touch(tmp_path / "a.nii.gz")
    assert PartnerFiles(tmp_path).of(image, "a.nii.gz") is None


def test_trees_of_one_make_get_a_name_for_each_case(tmp_path):
    """As BIDS lays studies out: the file, its folder and the folder above are called alike."""
    for number in range(3):
        touch(tmp_path / f"sub-{number}" / "anat" / "t1.nii.gz")
    found = names(tmp_path / "sub-*" / "anat" / "t1.nii.gz")
    assert len(set(found)) == 3
    assert found == names(tmp_path / "sub-*" / "anat" / "t1.nii.gz"), "the same next time"


def test_what_is_no_image_has_a_name_of_its_own(tmp_path):
    touch(tmp_path / "a" / "x.nii.gz")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.nii.gz").symlink_to(tmp_path / "a" / "x.nii.gz")
    found = find_inputs([str(tmp_path / side / "x.nii.gz") for side in "ab"])
    (case,), (twin,) = found.cases, found.unusable
    assert case.name == "x"
    assert twin.name.startswith("x__")


def test_results_are_no_inputs(tmp_path):
    touch(tmp_path / "a.nii.gz")
    out = tmp_path / "out"
    touch(out / "a" / "a.nii.gz")
    for text in (tmp_path, tmp_path / "**" / "*.nii.gz"):
        assert [case.name for case in find_inputs([str(text)], out).cases] == ["a"]
    touch(out / "a" / "a.dcm")
    touch(tmp_path / "scan" / "1.dcm")
    told = [one.path for one in find_inputs([str(tmp_path)], out).unusable]
    assert told, "of the damaged scan"
    assert not any(out in path.parents for path in told)
    with pytest.raises(ConfigError, match="is the folder to be segmented itself"):
        find_inputs([str(tmp_path)], tmp_path)


def test_a_folder_without_any_image_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ConfigError, match="no image there; expected .nii"):
        find_inputs([str(tmp_path)])


def test_damaged_dicom_files_are_told_of(tmp_path):
    touch(tmp_path / "scan" / "1.dcm")
    touch(tmp_path / "a.nii.gz")
    (fault,) = find_inputs([str(tmp_path)]).unusable
    assert fault.is_fault
    assert "1.dcm" in f"{fault.name} {fault.path} {fault.reason}"


def test_a_folder_that_cannot_be_looked_into_is_told_of(tmp_path):
    faults = []
    assert list(_files(tmp_path / "gone", None, faults)) == []
    assert faults[0].is_fault
    assert "cannot be looked into" in faults[0].reason


def test_a_list_given_as_one_word_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is too long for a path; expected one path"):
        find_inputs(["a.nii.gz " * 1000])
