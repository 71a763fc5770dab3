"""Which file belongs to which, and on which grid."""

from pathlib import Path

import numpy as np
import pytest
from cobot.errors import ConfigError, GridMismatchError
from cobot.io import write_label_map
from cobot.measures.mask_pairs import mask_files, pair_masks, require_one_grid
from cobot.volume import LabelMap

STRAIGHT = np.eye(4)


def mask(path: Path, shape=(4, 5, 6), affine=STRAIGHT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_label_map(LabelMap(np.ones(shape, np.uint8), affine, {1: "liver"}), path)
    return path


def test_suffixes_and_the_pair_layout_do_not_count(tmp_path):
    for name in ("image_one.nii.gz", "two.nrrd", "four.nii.gz"):
        mask(tmp_path / "pred" / name)
    for name in ("label_one.nii.gz", "image_one.nii.gz", "label_two.nii.gz", "label_three.nii.gz"):
        mask(tmp_path / "true" / name)
    found = pair_masks(tmp_path / "pred", tmp_path / "true")
    assert [(one.case, one.prediction.name, one.truth.name) for one in found.pairs] == [
        ("one", "image_one.nii.gz", "label_one.nii.gz"),
        ("two", "two.nrrd", "label_two.nii.gz"),
    ]
    assert (found.missing, found.extra) == (["three"], ["four"])


def test_two_files_are_a_pair_whatever_their_names(tmp_path):
    one, other = mask(tmp_path / "a.nii.gz"), mask(tmp_path / "b.nii.gz")
    assert [pair.truth for pair in pair_masks(one, other).pairs] == [other]
    with pytest.raises(ConfigError, match="one is a file, the other is not"):
        pair_masks(one, tmp_path)


def test_the_final_labels_of_a_datastore_are_found(tmp_path):
    mask(tmp_path / "case.nii.gz")
    final = mask(tmp_path / "labels" / "final" / "case.nii.gz")
    assert mask_files(tmp_path) == {"case": final}


def test_places_that_cannot_be_paired_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        mask_files(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="holds no mask"):
        mask_files(tmp_path)
    mask(tmp_path / "p" / "a.nii.gz")
    mask(tmp_path / "t" / "b.nii.gz")
    with pytest.raises(ConfigError, match="predictions are a; .* has b"):
        pair_masks(tmp_path / "p", tmp_path / "t")
    mask(tmp_path / "p" / "a.nrrd")
    with pytest.raises(ConfigError, match="two masks of case 'a'.*a.nii.gz.*a.nrrd"):
        mask_files(tmp_path / "p")


def test_different_grids_are_refused_and_named(tmp_path):
    truth = mask(tmp_path / "truth.nii.gz")
    require_one_grid(mask(tmp_path / "same.nii.gz"), truth)
    with pytest.raises(GridMismatchError, match=r"p1.* and .*truth.*\(4, 5, 7\) .*\(4, 5, 6\)"):
        require_one_grid(mask(tmp_path / "p1.nii.gz", (4, 5, 7)), truth)
    moved = np.eye(4)
    moved[0, 3] = 2.5
    with pytest.raises(GridMismatchError, match=r"p2.nii.gz.*corners up to 2.5 mm apart"):
        require_one_grid(mask(tmp_path / "p2.nii.gz", affine=moved), truth)
    flipped = np.diag([-1.0, 1.0, 1.0, 1.0])
    with pytest.raises(GridMismatchError, match="corners up to 3 mm apart"):
        require_one_grid(mask(tmp_path / "p3.nii.gz", affine=flipped), truth)
    flipped[0, 3] = 3
    require_one_grid(mask(tmp_path / "p4.nii.gz", affine=flipped), truth)
