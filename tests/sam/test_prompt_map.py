"""Prompts drawn as mask logits: positive on the ellipse of a box, or around a click."""

import pytest
import torch
from cobot.sam.decoder import BOX_FIRST, BOX_LAST, NEGATIVE, NOT_A_POINT, POSITIVE, PromptTokens
from cobot.sam.prompt_map import CARRIED, PEAK_LOGIT, carried_over, draw_prompts, has_box


def tokens(*places: tuple[float, float, int]) -> PromptTokens:
    return PromptTokens(
        xy=torch.tensor([[place[:2] for place in places]]),
        kind=torch.tensor([[place[2] for place in places]]),
    )


def test_a_box_becomes_the_ellipse_that_touches_its_sides():
    drawn = draw_prompts(tokens((8.0, 16.0, BOX_FIRST), (39.0, 31.0, BOX_LAST)), 64, 64)[0]
    rows, cols = torch.nonzero(drawn > 0, as_tuple=True)
    assert (cols.min(), cols.max(), rows.min(), rows.max()) == (8, 39, 16, 31)
    assert (drawn > 0).sum() == pytest.approx(torch.pi / 4 * 32 * 16, rel=0.02)
    assert drawn.max() == pytest.approx(PEAK_LOGIT, rel=0.02)
    assert drawn.min() == -PEAK_LOGIT


def test_the_drawing_is_the_same_at_another_resolution():
    box = tokens((8.0, 16.0, BOX_FIRST), (39.0, 31.0, BOX_LAST))
    fine, coarse = draw_prompts(box, 64, 64), draw_prompts(box, 64, 16)
    inside = coarse > 1
    assert torch.nn.functional.avg_pool2d(fine, 4)[inside] == pytest.approx(coarse[inside], abs=0.5)


def test_clicks_become_spots_and_negative_ones_are_not_drawn():
    asked = tokens((10.0, 50.0, POSITIVE), (40.0, 12.0, NEGATIVE), (0.0, 0.0, NOT_A_POINT))
    drawn = draw_prompts(asked, 64, 64)[0]
    assert drawn[50, 10] == PEAK_LOGIT
    assert drawn[12, 40] == -PEAK_LOGIT
    assert drawn[0, 0] == -PEAK_LOGIT
    assert drawn[50, 14] == pytest.approx(0.0)


def test_a_box_hides_the_clicks_that_come_with_it():
    box = ((8.0, 16.0, BOX_FIRST), (39.0, 31.0, BOX_LAST))
    alone, both = tokens(*box), tokens((2.0, 2.0, POSITIVE), *box)
    assert torch.equal(draw_prompts(alone, 64, 64), draw_prompts(both, 64, 64))


def test_half_of_a_shape_is_carried_over_and_a_spot_is_not():
    shown = torch.tensor([[2.0, -20.0], [0.0, 4.0]]).repeat(2, 1, 1)
    carried = carried_over(shown, torch.tensor([True, False]))
    assert carried[0].tolist() == [[1.0, -CARRIED * PEAK_LOGIT], [0.0, 2.0]]
    assert not carried[1].any()


def test_a_box_among_clicks_is_seen():
    box = ((8.0, 16.0, BOX_FIRST), (39.0, 31.0, BOX_LAST))
    assert has_box(tokens((2.0, 2.0, POSITIVE), *box)).tolist() == [True]
    assert has_box(tokens((2.0, 2.0, POSITIVE), (0.0, 0.0, NOT_A_POINT))).tolist() == [False]
