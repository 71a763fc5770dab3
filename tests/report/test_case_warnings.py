"""What deserves a look, and what does not."""

import numpy as np
import pytest
from cobot.batch.record import CaseRecord
from cobot.report.case_warnings import mask_warnings, record_warnings
from cobot.report.plausible_volumes import BatchVolumes, implausible
from cobot.volume import LabelMap

from .batch_example import AFFINE, NOW, organ

NO_BATCH = BatchVolumes([])


def of_mask(voxels: np.ndarray, affine: np.ndarray = AFFINE) -> list[str]:
    return [one.text for one in mask_warnings(LabelMap(voxels, affine, {1: "liver"}))]


def of_record(batch: BatchVolumes = NO_BATCH, **fields: object) -> list[str]:
    record = CaseRecord(case="a", status="done", input="a", axis="k", finished_at=NOW, **fields)
    return [one.text for one in record_warnings(record, batch)]


def test_a_structure_inside_the_image_in_one_piece_is_fine():
    assert of_mask(organ((10, 10, 3))) == []
    assert of_mask(np.zeros_like(organ((10, 10, 3)))) == []


@pytest.mark.parametrize(
    ("start", "side"),
    [((0, 9, 3), "left"), ((32, 9, 3), "right"), ((9, 0, 3), "back"), ((9, 28, 3), "front"),
     ((9, 9, 0), "feet"), ((9, 9, 6), "head")],
)  # fmt: skip
def test_each_side_of_the_image_is_named_for_the_patient(start, side):
    assert of_mask(organ(start)) == [f"liver touches the edge of the image towards the {side}"]
    mirrored = np.diag([-2.0, -2.0, -5.0, 1.0])
    opposite = {"left": "right", "back": "front", "feet": "head"}
    other = (opposite | {value: key for key, value in opposite.items()})[side]
    assert of_mask(organ(start), mirrored)[0].endswith(other)


def test_pieces_are_counted_and_the_largest_has_its_share():
    voxels = organ((10, 10, 3))
    for place in (2, 20, 30):
        voxels[place, 2, 5] = 1
    # 256 voxels and three specks.
    assert of_mask(voxels) == ["liver is in 4 pieces; the largest has 99% of it"]
    voxels[30, 2, 5] = 0
    assert of_mask(voxels) == []


def test_the_largest_of_many_pieces_never_has_all_of_it():
    voxels = np.zeros((30, 30, 10), np.uint8)
    voxels[1:25, 1:25, 1:9] = 1
    voxels[27, [3, 13, 23], 5] = 1
    # 4608 voxels and three specks: 99.9 %.
    assert of_mask(voxels) == ["liver is in 4 pieces; the largest has 99% of it"]


def test_volumes_outside_the_range_of_adults():
    assert implausible("Right_Kidney", 900.0).startswith("right kidney has 900.0 mL")
    assert implausible("liver", 1500.0) is None
    assert implausible("aorta", 1e6) is None, "nothing is known of it"
    assert of_record(volume_ml={"liver": 5.0}) == ["liver has 5.0 mL; adults have 600 to 3500"]
    assert of_record(volume_ml={"liver": 0.0}) == [], "not found is told otherwise"


def test_volumes_unlike_the_batch():
    rest = [{"tumour": volume} for volume in (9.0, 10.0, 10.0, 10.0, 10.5, 11.0, 10.2, 30.0)]
    batch = BatchVolumes(rest)
    assert of_record(batch, volume_ml={"tumour": 30.0}) == [
        "tumour has 30.0 mL; the median of this batch is 10.1"
    ]
    assert of_record(batch, volume_ml={"tumour": 11.0}) == []
    assert of_record(BatchVolumes(rest[1:]), volume_ml={"tumour": 30.0}) == [], "too few"


def test_low_confidence_names_the_worst_slice():
    low = {"liver": {3: 0.9, 4: 0.2, 5: 0.9}}
    assert of_record(confidence=low) == ["liver is uncertain: 0.20 on slice k = 4, 0.67 on average"]
    assert of_record(confidence={"liver": {3: 0.5, 4: 0.5}})
    assert of_record(confidence={"liver": {3: 0.9, 4: 0.7}}) == []


def test_the_batch_s_own_notes_are_kept():
    assert of_record(warnings=("'liver' was asked for and nothing was found",)) == [
        "'liver' was asked for and nothing was found"
    ]
