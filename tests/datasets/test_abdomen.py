import numpy as np
import pytest
from cobot.datasets.abdomen import ABDOMEN, AbdomenLayout
from cobot.errors import DatasetError, ImageReadError
from cobot.intensity import IntensityWindow
from cobot.planes import plane_across

LAYOUT = AbdomenLayout(images=4, masks=3)


def test_labels_and_window_are_those_published(downloads):
    assert ABDOMEN.labels == {1: "liver", 2: "kidney", 3: "spleen", 4: "pancreas"}
    volume = downloads.phantom().volume
    assert ABDOMEN.window("kidney").resolve(volume) == IntensityWindow(-160.0, 240.0)
    with pytest.raises(DatasetError, match="no label 'aorta'; it has liver, kidney"):
        ABDOMEN.window("aorta")
    assert (AbdomenLayout().images, AbdomenLayout().masks) == (1062, 1000)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_ct_is_cut_axially_even_where_slices_are_thinner_than_pixels(axis):
    affine = np.eye(4)
    affine[:3, :3] = np.roll(np.diag([0.8, 0.8, 0.5]), axis, axis=1)
    across = int(np.argmax(np.abs(affine[2, :3])))
    assert ABDOMEN.cut(affine) == plane_across(affine, across)


def test_pairs_come_from_folders_of_any_name(downloads, tmp_path):
    survey = LAYOUT.survey(downloads.abdomen(tmp_path, images=4, masks=3))
    assert survey.missing == ()
    assert [case.name for case in survey.cases] == [f"Case_0000{n}" for n in (1, 2, 3, 4)]
    assert [case.truth is None for case in survey.cases] == [False, False, False, True]
    truth = survey.cases[0].truth.read()
    organs = downloads.phantom().truth
    assert (truth.mask("spleen") == organs.mask("spleen")).all()
    kidneys = organs.mask("right kidney") | organs.mask("left kidney")
    assert (truth.mask("kidney") == kidneys).all()
    assert kidneys.any()


def test_what_is_missing_is_named(downloads, tmp_path):
    root = downloads.abdomen(tmp_path, images=4, masks=3)
    (root / "AbdomenCT-1K-ImagePart3" / "Case_00002_0000.nii.gz").unlink()
    (root / "Mask" / "Case_00001.nii.gz").unlink()
    survey = LAYOUT.survey(root)
    assert survey.missing == ("Case_00002_0000.nii.gz", "Case_00001.nii.gz")
    assert [case.name for case in survey.cases] == ["Case_00001", "Case_00003", "Case_00004"]


def test_other_layouts_are_refused(downloads, tmp_path):
    with pytest.raises(DatasetError, match="is not a folder"):
        LAYOUT.survey(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="holds no Case_00001_0000.nii.gz"):
        LAYOUT.survey(tmp_path)
    root = downloads.abdomen(tmp_path, images=1, masks=1)
    downloads.image(root / "copy" / "Case_00001_0000.nii.gz", 1)
    with pytest.raises(DatasetError, match="Case_00001_0000.nii.gz is there twice.*copy"):
        LAYOUT.survey(root)


@pytest.mark.parametrize(("values", "refusal"), [({1: 5}, r"\[5\].*has 1, 2, 3, 4"), ({1: 4}, "")])
def test_foreign_label_values_are_refused(downloads, tmp_path, values, refusal):
    root = downloads.abdomen(tmp_path, images=4, masks=3)
    downloads.mask(root / "Mask" / "Case_00001.nii.gz", values)
    truth = LAYOUT.survey(root).cases[0].truth
    if refusal:
        with pytest.raises(DatasetError, match=refusal):
            truth.read()
    else:
        assert (truth.read().mask("pancreas") == downloads.phantom().truth.mask("liver")).all()


def test_an_image_in_the_place_of_a_mask_is_refused(downloads, tmp_path):
    root = downloads.abdomen(tmp_path, images=1, masks=1)
    downloads.image(root / "Mask" / "Case_00001.nii.gz", 1)
    with pytest.raises(ImageReadError, match="is not a label map"):
        AbdomenLayout(1, 1).survey(root).cases[0].truth.read()
