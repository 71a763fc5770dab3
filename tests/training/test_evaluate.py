"""Dice of masks small enough to count."""

import math

import numpy as np
import pytest
from cobot.training.evaluate import dice


def test_dice_of_counted_voxels():
    first, second = np.zeros((2, 4, 4, 4), bool)
    first[:2] = True
    second[1:3] = True
    assert dice(first, second) == 0.5
    assert dice(first, first) == 1
    assert dice(first, ~first) == 0


def test_an_empty_mask_against_a_full_one_is_zero():
    assert dice(np.zeros(3, bool), np.ones(3, bool)) == 0


def test_two_empty_masks_have_no_dice():
    assert math.isnan(dice(np.zeros(3, bool), np.zeros(3, bool)))


def test_masks_of_different_shape_are_refused():
    with pytest.raises(Exception, match="shape"):
        dice(np.zeros(3, bool), np.zeros(4, bool))
