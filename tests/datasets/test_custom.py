from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cobot.datasets.abdomen import ABDOMEN
from cobot.datasets.catalogue import PUBLIC, dataset, public_dataset
from cobot.datasets.custom import read_dataset
from cobot.datasets.plain_names import plain_name
from cobot.errors import DatasetError
from cobot.intensity import PRESETS, FixedWindow
from cobot.planes import acquired_plane, plane_across

DOCS = Path(__file__).parents[2] / "docs" / "datasets.md"
SMALL = """
name = "liver_tumour"
window = [-100, 200.5]
[labels]
liver = 1
tumour = 7
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_three_lines_and_labels_are_enough(tmp_path):
    own = read_dataset(written(tmp_path, SMALL))
    assert (own.name, own.title) == ("liver_tumour", "liver_tumour")
    assert own.labels == {1: "liver", 7: "tumour"}
    assert own.window("tumour") == FixedWindow(-100.0, 200.5)
    affine = np.diag([1.0, 3.0, 1.0, 1.0])
    assert own.cut(affine) == acquired_plane(affine) == plane_across(affine, 1)


def test_the_documented_example_is_read(tmp_path):
    example = DOCS.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    own = dataset(str(written(tmp_path, example)))
    assert own.labels == {1: "left lung", 2: "right lung", 3: "rib"}
    assert own.window("rib") == PRESETS["bone"]
    assert own.window("left lung") == PRESETS["lung"]
    assert own.plane == "axial"
    assert own.cut(np.eye(4)) == plane_across(np.eye(4), 2)


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("name = ", "own.toml is not TOML: .*docs/datasets.md"),
        ("", "own.toml: labels: field required"),
        (SMALL.replace("liver_tumour", "Liver tumour"), "name: string should match pattern"),
        (SMALL.replace("name =", 'colour = "red"\nname ='), "colour: extra inputs"),
        (SMALL.replace("[-100, 200.5]", "[200, -100]"), "lower < upper, got 200.0 and -100.0"),
        (SMALL.replace("[-100, 200.5]", "[-100]"), "window.1: field required"),
        (SMALL.replace("[-100, 200.5]", "[-inf, 1]"), "window.0: .*finite"),
        (SMALL.replace("[-100, 200.5]", '"belly"'), "window 'belly' is unknown.*abdomen"),
        (
            SMALL.replace("[labels]", 'plane = "oblique"\n[labels]'),
            "plane: input should be 'axial'",
        ),
        (SMALL.replace("= 7", "= 1"), "labels must have different values"),
        (SMALL.replace("= 7", "= 0"), r"label values \[0\] cannot be stored"),
        (SMALL.replace("= 7", "= 65536"), r"label values \[65536\] cannot be stored"),
        (SMALL.replace("= 7", "= 1.5"), "labels.tumour: input should be a valid integer"),
        (SMALL.replace("tumour =", '" " ='), "label name ' ' is empty"),
        (SMALL.split("[labels]")[0] + "[labels]\n", "labels: dictionary should have at least 1"),
        (
            SMALL + '[windows.bone]\nlabels = ["rib"]\nwindow = "bone"',
            "exactly one organ group; look at rib",
        ),
        (
            SMALL + '[windows.a]\nlabels = ["liver"]\nwindow = "bone"\n'
            '[windows.b]\nlabels = ["liver"]\nwindow = "bone"',
            "exactly one organ group; look at liver",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_key(tmp_path, text, refusal):
    with pytest.raises(DatasetError, match=f"own.toml.*{refusal.removeprefix('own.toml')}"):
        read_dataset(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match="none.toml cannot be read .No such file"):
        dataset(str(tmp_path / "none.toml"))


def test_public_data_sets_are_known_by_name():
    assert dataset("abdomen") is ABDOMEN
    assert public_dataset("head-neck") is PUBLIC["head_neck"]
    assert [name for name, (about, _) in PUBLIC.items() if about.name != name] == []
    with pytest.raises(DatasetError, match="no public data set 'knee'; expected one of abdomen"):
        dataset("knee")


def test_a_byte_order_mark_as_notepad_writes_it_is_no_error(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(SMALL, encoding="utf-8-sig")
    assert read_dataset(path).name == "liver_tumour"


@pytest.mark.parametrize("other", ["Left Kidney", "left  kidney", "left_kidney ", "LEFT_Kidney"])
def test_names_that_training_cannot_tell_apart_are_refused(tmp_path, other):
    assert plain_name(other) == plain_name("left_kidney")
    text = f'{SMALL}left_kidney = 2\n"{other}" = 3\n'
    with pytest.raises(DatasetError, match=f"own.toml: .*'left_kidney' and '{other}' are one name"):
        read_dataset(written(tmp_path, text))


def test_one_name_for_two_values_is_refused():
    with pytest.raises(DatasetError, match="'liver' and 'liver' are one name"):
        replace(ABDOMEN, labels={**ABDOMEN.labels, 9: "liver"})
