"""The simulated annotator gives the boxes and clicks known by hand."""

import numpy as np
import pytest
from cobot.errors import PromptError
from cobot.prompts import tight_box
from cobot.training.clicks import (
    centre_click,
    corrective_click,
    jittered_box,
)
from hypothesis import given
from hypothesis import strategies as st


def square(start: int, stop: int, side: int = 12) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[start:stop, start:stop] = True
    return mask


def test_the_tight_box_is_first_and_last_pixel():
    mask = np.zeros((6, 9), bool)
    mask[2, 3:8] = True
    assert tight_box(mask).tolist() == [3, 2, 7, 2]


def test_an_empty_mask_has_neither_box_nor_centre():
    empty = np.zeros((4, 4), bool)
    with pytest.raises(PromptError, match="no box"):
        tight_box(empty)
    with pytest.raises(PromptError, match="no centre"):
        centre_click(empty)


def test_the_centre_of_a_square_is_its_middle():
    click = centre_click(square(3, 8))
    assert (click.x_px, click.y_px, click.positive) == (5, 5, True)


def test_a_missed_part_gets_a_positive_click_inside_it():
    truth, answer = square(2, 9), square(2, 4)
    click = corrective_click(truth, answer)
    assert click is not None
    assert click.positive
    assert truth[int(click.y_px), int(click.x_px)]
    assert not answer[int(click.y_px), int(click.x_px)]


def test_a_spill_gets_a_negative_click_inside_it():
    truth, answer = square(2, 4), square(2, 9)
    click = corrective_click(truth, answer)
    assert click is not None
    assert not click.positive
    assert not truth[int(click.y_px), int(click.x_px)]


def test_a_right_answer_needs_no_click():
    assert corrective_click(square(2, 5), square(2, 5)) is None


def test_no_jitter_is_the_tight_box():
    rng = np.random.default_rng(0)
    assert jittered_box(square(3, 8), 0.0, rng).tolist() == [3, 3, 7, 7]


@given(seed=st.integers(0, 10_000), jitter=st.floats(0, 2), start=st.integers(0, 8))
def test_a_jittered_box_is_ordered_and_inside_the_picture(seed, jitter, start):
    box = jittered_box(square(start, start + 3), jitter, np.random.default_rng(seed))
    assert (box[:2] <= box[2:]).all()
    assert (box >= 0).all()
    assert (box <= 11).all()
