import numpy as np
import pytest
from cobot.sam.body import body_region
from cobot.sam.frame import Region

NOWHERE = np.empty((0, 2))


@pytest.fixture
def unit():
    """A body in rows 20..59 and columns 30..79, and two specks of noise in the air."""
    picture = np.zeros((100, 120), np.float32)
    picture[20:60, 30:80] = 0.4
    picture[5, 100] = picture[90, 3] = 0.9
    return picture


def test_is_the_body_with_a_margin(unit):
    assert body_region(unit, NOWHERE) == Region(18, 62, 28, 82)


def test_holds_the_prompts(unit):
    assert body_region(unit, np.array([[29.0, 30.0]])) == Region(18, 62, 28, 82)
    assert body_region(unit, np.array([[100.0, 5.0], [40.0, 40.0]])) == Region(5, 62, 28, 101)


def test_leaves_out_prompts_off_the_slice(unit):
    assert body_region(unit, np.array([[500.0, -7.0]])) == Region(18, 62, 28, 82)


def test_stops_at_the_edge(unit):
    unit[0:, 0:] = 0.4
    assert body_region(unit, NOWHERE) == Region(0, 100, 0, 120)


@pytest.mark.parametrize("height", [0, 10])
def test_is_the_whole_slice_without_a_body(height):
    picture = np.zeros((100, 120), np.float32)
    picture[:height] = 1
    assert body_region(picture, NOWHERE) == Region(0, 100, 0, 120)
