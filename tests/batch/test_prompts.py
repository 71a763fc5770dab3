"""What is asked of a volume: files of prompts in voxels and in millimetres, and coarse masks."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from cobot.batch.asking import FilePrompts, MaskPrompts
from cobot.batch.inputs import InputCase
from cobot.batch.label_choice import LabelChoice, read_label_choice
from cobot.batch.partners import PartnerFiles
from cobot.batch.prompt_file import PromptFile, read_prompt_file
from cobot.errors import ConfigError, GridMismatchError, PromptError
from cobot.geometry import ras_from_ijk
from cobot.io import write_label_map
from cobot.planes import acquired_plane
from cobot.volume import LabelMap, Volume

AFFINE = np.array(
    [[-2.0, 0.0, 0.0, 31.0], [0.0, 3.0, 0.0, -7.5], [0.0, 0.0, 5.0, 100.0], [0.0, 0.0, 0.0, 1.0]]
)
CASE = InputCase("a", Path("a.nii.gz"), (Path("a.nii.gz"),), "sub/a.nii.gz")


@pytest.fixture
def volume():
    return Volume(np.zeros((20, 16, 6), np.int16), AFFINE)


def ask(volume, *objects, space="ijk", key="*", choice=LabelChoice()):  # noqa: B008
    file = PromptFile.model_validate({"space": space, "cases": {key: {"objects": list(objects)}}})
    return FilePrompts(file, "test", choice).ask(CASE, volume, acquired_plane(volume.affine))


def as_text(asked):
    return {
        index: [
            (label, None if p.box_xyxy is None else p.box_xyxy.tolist(), p.points_xy.tolist())
            for label, p in given
        ]
        for index, given in asked.slices.items()
    }


def test_millimetres_and_voxels_ask_the_same(volume):
    corners = np.array([[2, 3, 1], [9, 12, 3]])
    click = np.array([[4, 5, 2]])
    in_mm = ras_from_ijk(AFFINE, corners).tolist()
    voxels = ask(
        volume,
        {"label": "liver", "boxes": [corners.tolist()], "points": [{"at": click[0].tolist()}]},
    )
    millimetres = ask(
        volume,
        {
            "label": "liver",
            "boxes": [[in_mm[1], in_mm[0]]],
            "points": [{"at": ras_from_ijk(AFFINE, click)[0].tolist()}],
        },
        space="ras_mm",
    )
    assert as_text(millimetres) == as_text(voxels)
    assert sorted(voxels.slices) == [1, 2, 3]
    assert [len(given[0][1].points_xy) for given in voxels.slices.values()] == [0, 1, 0]


def test_a_label_may_have_several_boxes_on_a_slice(volume):
    asked = ask(
        volume,
        {"label": "kidney", "boxes": [[[1, 1, 2], [4, 4, 2]], [[10, 1, 2], [14, 4, 3]]]},
    )
    assert [len(given) for given in asked.slices.values()] == [2, 1]
    assert asked.labels == {1: "kidney"}


def test_a_point_on_a_slice_with_two_boxes_of_its_label_is_refused(volume):
    target = {
        "label": "kidney",
        "boxes": [[[1, 1, 2], [4, 4, 2]], [[10, 1, 2], [14, 4, 3]]],
        "points": [{"at": [2, 2, 2]}],
    }
    with pytest.raises(PromptError, match="not clear which box it corrects"):
        ask(volume, target)


def test_a_prompt_outside_the_image_is_refused_with_its_place(volume):
    with pytest.raises(PromptError, match=r"\[20, 4, 2\] lies outside the image"):
        ask(volume, {"label": "liver", "boxes": [[[1, 1, 1], [20, 4, 2]]]})


def test_the_most_particular_entry_counts(volume):
    def labels(key, other):
        file = PromptFile.model_validate(
            {
                "cases": {
                    key: {"objects": [{"label": "wanted", "boxes": [[[1, 1, 1], [2, 2, 1]]]}]},
                    other: {"objects": [{"label": "other", "boxes": [[[1, 1, 1], [2, 2, 1]]]}]},
                }
            }
        )
        asked = FilePrompts(file, "test").ask(CASE, volume, acquired_plane(AFFINE))
        return {label for given in asked.slices.values() for label, _ in given}

    assert labels("sub/a.nii.gz", "a.nii.gz") == {"wanted"}
    assert labels("a.nii.gz", "a") == {"wanted"}
    assert labels("a", "*") == {"wanted"}


def test_an_image_without_an_entry_is_told_so(volume):
    with pytest.raises(PromptError, match=r"has no prompts for sub/a\.nii\.gz"):
        ask(volume, {"label": "x", "boxes": [[[1, 1, 1], [2, 2, 1]]]}, key="b")


def test_values_are_the_same_for_every_image_of_a_file():
    box = [[[1, 1, 1], [2, 2, 1]]]
    file = PromptFile.model_validate(
        {
            "cases": {
                "a": {"objects": [{"label": "spleen", "boxes": box}]},
                "b": {"objects": [{"label": "Leber ä", "boxes": box}]},
            }
        }
    )
    assert file.values() == {1: "spleen", 2: "Leber ä"}


BOX = [[1, 1, 1], [2, 2, 1]]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"cases": {}}, "cases"),
        ({"cases": {"*": {"objects": []}}}, "objects"),
        ({"cases": {"*": {"objects": [{"label": "x"}]}}}, "neither a box nor a positive point"),
        ({"cases": {"*": {"objects": [{"label": " ", "boxes": [BOX]}]}}}, "name in one line"),
        ({"cases": {"*": {"objects": [{"label": "x", "box": BOX}]}}}, "Extra inputs"),
        ({"cases": {"*": {"objects": [{"label": "x", "boxes": [[[1.5, 1, 1], [2, 2, 1]]]}]}}},
         "is no voxel index"),
        ({"labels": {"1": "y"}, "cases": {"*": {"objects": [{"label": "x", "boxes": [BOX]}]}}},
         r"no value to \['x'\]"),
        ({"labels": {"1": "x", "2": " x"}, "cases": {"*": {"objects": [{"label": "x",
         "boxes": [BOX]}]}}}, "name one structure twice: .*; give each name one value"),
        ({"labels": {"1": "x", "2": "a\tb"}, "cases": {"*": {"objects": [{"label": "x",
         "boxes": [BOX]}]}}}, r"labels.2: .*'a\\tb' is not a name in one line .*; rename it"),
        ({"labels": {"1": "x", "2": ""}, "cases": {"*": {"objects": [{"label": "x",
         "boxes": [BOX]}]}}}, r"labels.2: .*'' is not a name in one line"),
        ({"cases": {"*": {"objects": [{"label": "x", "boxes": [BOX]}] * 2}}}, "given twice"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_the_schema_is_refused(tmp_path, document, message):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(document))
    with pytest.raises(PromptError, match=message):
        read_prompt_file(path)


def test_blanks_around_a_name_count_neither_in_labels_nor_in_objects():
    file = PromptFile.model_validate(
        {
            "labels": {"3": "left kidney "},
            "cases": {"*": {"objects": [{"label": " left kidney", "boxes": [BOX]}]}},
        }
    )
    assert file.values() == {3: "left kidney"}


def test_a_file_that_is_missing_or_no_json_is_refused(tmp_path):
    with pytest.raises(PromptError, match="cannot be read"):
        read_prompt_file(tmp_path / "gone.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(PromptError, match="is not JSON"):
        read_prompt_file(tmp_path / "bad.json")


def test_a_change_of_another_images_prompts_leaves_this_ones():
    def digest(x):
        objects = [{"label": "x", "boxes": [[[x, 1, 1], [2, 2, 1]]]}]
        same = [{"label": "x", "boxes": [BOX]}]
        file = PromptFile.model_validate(
            {"cases": {"a": {"objects": same}, "b": {"objects": objects}}}
        )
        other = InputCase("b", Path("b.nii"), (Path("b.nii"),), "b.nii")
        return [FilePrompts(file, "t").digest(case) for case in (CASE, other)]

    assert digest(1)[0] == digest(0)[0]
    assert digest(1)[1] != digest(0)[1]


def test_coarse_masks_give_a_tight_box_a_slice(tmp_path, volume):
    voxels = np.zeros(volume.shape, np.uint8)
    voxels[3:8, 2:5, 2] = 4
    voxels[3:5, 2:4, 3] = 9
    write_label_map(LabelMap(voxels, AFFINE, {4: "milz ü", 9: "x y"}), tmp_path / "a.nii.gz")
    masks = PartnerFiles(tmp_path)
    asked = MaskPrompts(masks).ask(CASE, volume, acquired_plane(AFFINE))
    assert asked.labels == {4: "milz ü", 9: "x y"}
    assert {index: [label for label, _ in given] for index, given in asked.slices.items()} == {
        2: ["milz ü"],
        3: ["x y"],
    }
    wanted = ask(volume, {"label": "milz ü", "boxes": [[[3, 2, 2], [7, 4, 2]]]})
    (_, box), (_, expected) = asked.slices[2][0], wanted.slices[2][0]
    assert box.box_xyxy.tolist() == expected.box_xyxy.tolist()


def test_a_coarse_mask_with_its_rows_turned_round_gives_the_same_boxes(tmp_path, volume):
    """As dcm2niix stores what came from a DICOM series."""
    voxels = np.zeros(volume.shape, np.uint8)
    voxels[3:8, 2:5, 2] = 4
    flip = np.eye(4)
    flip[1, 1], flip[1, 3] = -1, volume.shape[1] - 1
    slices = []
    for name, stored, affine in (
        ("straight", voxels, AFFINE),
        ("turned", voxels[:, ::-1], AFFINE @ flip),
    ):
        (tmp_path / name).mkdir()
        label_map = LabelMap(stored, affine, {4: "spleen"})
        write_label_map(label_map, tmp_path / name / "a.nii.gz")
        source = MaskPrompts(PartnerFiles(tmp_path / name))
        slices.append(source.ask(CASE, volume, acquired_plane(AFFINE)).slices)
    straight, turned = slices
    assert list(turned) == list(straight) == [2]
    assert turned[2][0][1].box_xyxy.tolist() == straight[2][0][1].box_xyxy.tolist()


@pytest.mark.parametrize(
    ("header", "line"), [("a.mhd", "ElementDataFile = a.raw"), ("a.nhdr", "data file: a.raw")]
)
def test_a_coarse_mask_whose_voxels_lie_beside_it_is_known_by_them(tmp_path, header, line):
    (tmp_path / header).write_text(f"{line}\n")
    (tmp_path / "a.raw").write_bytes(b"\0\1")
    source = MaskPrompts(PartnerFiles(tmp_path))
    before = source.digest(CASE)
    assert source.digest(CASE) == before
    (tmp_path / "a.raw").write_bytes(b"\1\1")
    assert source.digest(CASE) != before


def test_a_coarse_mask_of_one_file_is_known_as_before(tmp_path):
    """What earlier runs wrote down still fits: nothing is segmented again."""
    (tmp_path / "a.nii.gz").write_bytes(b"mask")
    contents = hashlib.sha256(b"mask").hexdigest()
    expected = hashlib.sha256(f"{contents}|{LabelChoice()}".encode()).hexdigest()
    assert MaskPrompts(PartnerFiles(tmp_path)).digest(CASE) == expected


def test_a_mask_on_another_grid_or_missing_is_refused(tmp_path, volume):
    source = MaskPrompts(PartnerFiles(tmp_path))
    with pytest.raises(PromptError, match=r"holds no mask for sub/a\.nii\.gz"):
        source.digest(CASE)
    write_label_map(LabelMap(np.ones((4, 4, 4), np.uint8), AFFINE, {1: "x"}), tmp_path / "a.nii.gz")
    with pytest.raises(GridMismatchError, match="prompts-from"):
        source.ask(CASE, volume, acquired_plane(AFFINE))


def test_chosen_labels_are_kept_and_unknown_ones_refused(volume):
    target = {"label": "liver", "boxes": [BOX]}
    other = {"label": "spleen", "boxes": [BOX]}
    assert ask(volume, target, other, choice=read_label_choice("spleen")).labels == {2: "spleen"}
    valued = ask(volume, target, other, choice=read_label_choice("7=liver"))
    assert valued.labels == {7: "liver"}
    assert [label for label, _ in valued.slices[1]] == ["liver"]
    with pytest.raises(ConfigError, match="names Liver; known are liver, spleen"):
        ask(volume, target, other, choice=read_label_choice("1=Liver"))


@pytest.mark.parametrize("text", ["1=a,1=b", "0=a", "1=", "x=a", "1=a,2=a", "70000=a"])
def test_labels_that_cannot_be_read_are_refused(text):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_label_choice(text)
