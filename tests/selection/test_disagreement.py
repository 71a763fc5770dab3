"""Disagreement by numbers known by hand."""

import numpy as np
import pytest
from cobot.selection.disagreement import binary_entropy, disagreement, mean_pairwise_dice


def mask(*pixels):
    made = np.zeros((3, 4), bool)
    for row, col in pixels:
        made[row, col] = True
    return made


def test_equal_masks_agree_and_masks_apart_do_not():
    one, other = mask((0, 0), (0, 1)), mask((2, 2))
    assert disagreement(np.stack([one, one, one])) == 0
    assert disagreement(np.stack([one, other])) == 1


def test_a_mean_over_pairs_known_by_hand():
    # Dice: 2*1/(2+1) = 2/3, 2*2/(2+3) = 4/5, 2*1/(1+3) = 1/2
    masks = [mask((0, 0), (0, 1)), mask((0, 0)), mask((0, 0), (0, 1), (0, 2))]
    assert mean_pairwise_dice(np.stack(masks)) == pytest.approx((2 / 3 + 4 / 5 + 1 / 2) / 3)


def test_empty_masks_agree_with_each_other_alone():
    empty, one = mask(), mask((1, 1))
    assert disagreement(np.stack([empty, empty])) == 0
    assert disagreement(np.stack([empty, one])) == 1


def test_one_mask_is_no_agreement():
    with pytest.raises(ValueError, match="two masks or more, got 1"):
        disagreement(np.stack([mask((0, 0))]))


def test_entropy_of_presence():
    assert [binary_entropy(one) for one in (0.0, 0.5, 1.0)] == [0, 1, 0]
    # Of 1/4: 1/4 * 2 bits + 3/4 * log2(4/3)
    assert binary_entropy(0.25) == pytest.approx(0.8112781)
    assert binary_entropy(0.25) == pytest.approx(binary_entropy(0.75))
