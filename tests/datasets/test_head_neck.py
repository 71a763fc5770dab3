import numpy as np
import pytest
from cobot.datasets.head_neck import (
    HEAD_NECK,
    LABELS,
    ORGAN_MAP,
    REGIONS,
    TUMOUR_REGIONS,
    exact_mask,
    values_of,
)
from cobot.datasets.head_neck_layout import HeadNeckLayout
from cobot.errors import DatasetError, GridMismatchError, ImageReadError
from cobot.intensity import IntensityWindow

LAYOUT = HeadNeckLayout(training=2)
ANATOMY = {
    "Brain": ("BrainStem", "Chiasm", "TemporalLobe_L", "Hippocampus_R"),
    "TemporalLobe_L": ("Hippocampus_L",),
    "Eye_R": ("Lens_R",),
    "MiddleEar_L": ("IAC_L", "TympanicCavity_L", "VestibulSemi_L", "Cochlea_L", "ETbone_L"),
    "Larynx": ("Larynx_Glottic", "Larynx_Supraglot"),
}
"""Wholes and parts that share voxels."""


def test_values_are_the_submissions_order_from_one():
    assert len(LABELS) == 47
    expected = {1: "Brain", 16: "IAC_L", 26: "Pituitary", 38: "SpinalCord", 45: "Trachea"}
    expected |= {46: "GTVp", 47: "GTVnd"}
    assert {value: LABELS[value] for value in expected} == expected
    assert list(REGIONS) == list(LABELS.values())[:45]
    assert {region for regions in REGIONS.values() for region in regions} == set(range(1, 55))


def test_every_structure_has_one_window(downloads):
    windows = {"Hippocampus_L": (0, 80), "Cochlea_R": (-1000, 2000), "GTVp": (-125, 225)}
    for name, (lower, upper) in windows.items():
        found = HEAD_NECK.window(name).resolve(downloads.phantom().volume)
        assert found == IntensityWindow(lower, upper)
    assert sum(len(group.labels) for group in HEAD_NECK.groups) == 47


@pytest.mark.parametrize("whole", ANATOMY)
def test_a_part_wins_over_its_whole(whole):
    values = {name: value for value, name in LABELS.items()}
    for part in ANATOMY[whole]:
        assert set(REGIONS[part]) & set(REGIONS[whole])
        assert values[part] > values[whole]


def test_regions_become_the_highest_structure_that_has_them():
    values = values_of(REGIONS)
    assert set(values) == set(range(1, 55))
    named = {1: "Brain", 4: "TemporalLobe_L", 6: "Hippocampus_L", 12: "Lens_L", 18: "IAC_L"}
    named |= {20: "TympanicCavity_L", 28: "Cochlea_L", 51: "PharynxConst", 48: "Larynx"}
    assert {region: LABELS[values[region]] for region in named} == named
    assert values_of(TUMOUR_REGIONS) == {1: 46, 2: 47}


def test_maps_and_single_files_give_the_same_label_map(downloads, tmp_path):
    maps = LAYOUT.survey(downloads.head_neck(tmp_path / "maps", 2, maps=True))
    single = LAYOUT.survey(downloads.head_neck(tmp_path / "single", 2, maps=False))
    for survey in (maps, single):
        assert survey.missing == ()
        assert [case.name for case in survey.cases] == ["segrap_0000", "segrap_0001"]
        assert list(survey.cases[1].images) == ["segrap_0001", "segrap_0001_contrast"]
    for number, (one, other) in enumerate(zip(maps.cases, single.cases, strict=True)):
        found = one.truth.read()
        assert np.array_equal(found.voxels, other.truth.read().voxels)
        organs, tumours = downloads.regions(number)
        assert np.array_equal(found.mask("GTVp"), tumours == 1)
        assert np.array_equal(found.mask("Hippocampus_L"), np.isin(organs, (6, 8)) & (tumours == 0))


@pytest.mark.parametrize("name", ["Brain", "MiddleEar_R", "Larynx", "GTVnd"])
def test_the_exact_mask_of_a_whole_has_no_holes(downloads, tmp_path, name):
    organs, tumours = downloads.regions(0)
    whole = np.isin(organs, REGIONS[name]) if name in REGIONS else tumours == 2
    for maps in (True, False):
        root = downloads.head_neck(tmp_path / str(maps), 2, maps)
        exact = LAYOUT.survey(root).cases[0].truth.exact
        folder = tmp_path / f"exact-{maps}"
        folder.mkdir()
        for kept_as, path in exact.items():
            (folder / kept_as).symlink_to(path)
        assert np.array_equal(exact_mask(folder, name), whole)
        assert (folder / ORGAN_MAP).exists() == maps
    with pytest.raises(DatasetError, match="no structure 'Nose'"):
        exact_mask(folder, "Nose")
    with pytest.raises(ImageReadError, match="Brain.nii.gz does not exist"):
        exact_mask(tmp_path, "Brain")


@pytest.mark.parametrize(
    ("maps", "lost"),
    [
        (False, "SegRap2023_Training_Set_120cases/segrap_0001/Lens_L.nii.gz"),
        (False, "SegRap2023_Training_Set_120cases/segrap_0000/image_contrast.nii.gz"),
        (True, "SegRap2023_Training_Set_120cases_OneHot_Labels/Task002/segrap_0001.nii.gz"),
    ],
)
def test_what_is_missing_is_named(downloads, tmp_path, maps, lost):
    root = downloads.head_neck(tmp_path, 2, maps)
    (root / lost).unlink()
    survey = LAYOUT.survey(root)
    assert survey.missing == (lost,)
    assert len(survey.cases) == 1


def test_missing_cases_and_labels_are_named(downloads, tmp_path):
    root = downloads.head_neck(tmp_path, 1, maps=False)
    survey = HeadNeckLayout(training=2).survey(root)
    assert len(survey.missing) == 2 + 47
    assert survey.missing[0] == "segrap_0001/image.nii.gz"
    later = HeadNeckLayout(training=0).survey(root)
    assert [(case.name, case.truth) for case in later.cases] == [("segrap_0000", None)]


def test_other_layouts_are_refused(downloads, tmp_path):
    with pytest.raises(DatasetError, match="is not a folder"):
        LAYOUT.survey(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="holds no folder segrap_0000"):
        LAYOUT.survey(tmp_path)
    root = downloads.head_neck(tmp_path, 2, maps=True)
    (root / "validation" / "segrap_0001").mkdir(parents=True)
    with pytest.raises(DatasetError, match="segrap_0001 is there twice"):
        LAYOUT.survey(root)


def test_wrong_values_and_grids_are_refused(downloads, tmp_path):
    root = downloads.head_neck(tmp_path, 2, maps=False)
    first = LAYOUT.survey(root).cases[0]
    lens = first.truth.exact["Lens_L.nii.gz"]
    downloads.write(lens, np.full((9, 8, 5), 2, np.uint8))
    with pytest.raises(DatasetError, match=r"Lens_L.nii.gz holds label values \[2\]"):
        first.truth.read()
    downloads.write(lens, np.ones((9, 8, 4), np.uint8))
    with pytest.raises(GridMismatchError, match="not on the image's grid"):
        first.truth.read()
