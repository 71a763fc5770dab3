"""Windows: numbers by hand, the presets exactly, and every refusal."""

import numpy as np
import pytest
from cobot.errors import WindowError
from cobot.intensity import (
    PRESETS,
    FixedWindow,
    IntensityWindow,
    PercentileWindow,
    looks_like_ct,
    window_rule,
)
from cobot.volume import Volume
from hypothesis import given
from hypothesis import strategies as st


def volume_of(values):
    return Volume(np.asarray(values).reshape(-1, 1, 1), np.eye(4))


CT = volume_of([-1000, 0, 40, 300])
MR = volume_of(np.arange(201))


def test_window_by_hand():
    window = IntensityWindow(-160, 240)
    grey = window.apply(np.array([[-1000, -160, 40], [140, 240, 3000]], np.int16))
    assert grey.dtype == np.float32
    np.testing.assert_array_equal(grey, [[0, 0, 0.5], [0.75, 1, 1]])


@given(st.integers(-(2**15), 2**15 - 1), st.floats(-2000, 2000), st.floats(0.5, 4000))
def test_grey_values_stay_in_range_and_pixels_as_they_are(value, lower, width):
    pixels = np.full((1, 2), value, np.int16)
    grey = IntensityWindow(lower, lower + width).apply(pixels)
    assert ((grey >= 0) & (grey <= 1)).all()
    assert (pixels == value).all()


def test_unsigned_pixels_do_not_wrap():
    grey = IntensityWindow(100, 200).apply(np.array([[0, 150]], np.uint16))
    np.testing.assert_array_equal(grey, [[0, 0.5]])


@pytest.mark.parametrize(("lower", "upper"), [(1, 1), (2, 1), (np.nan, 1.0), (0, np.inf)])
def test_windows_without_width(lower, upper):
    with pytest.raises(WindowError, match="two finite values, lower < upper, got"):
        IntensityWindow(lower, upper)


@pytest.mark.parametrize(
    ("name", "lower", "upper"),
    [
        ("abdomen", 40 - 200, 40 + 200),
        ("lung", -600 - 750, -600 + 750),
        ("brain", 40 - 40, 40 + 40),
        ("mediastinum", 50 - 175, 50 + 175),
        ("spleen", -57, 164),
        ("synapse", -125, 275),
        ("btcv", -175, 250),
        ("bone", 500 - 1500, 500 + 1500),
        ("cobot-paper", -500, 1000),
        ("vista3d", -963.8247, 1053.678),
    ],
)
def test_presets_in_hu(name, lower, upper):
    window = PRESETS[name].resolve(CT)
    assert (window.lower, window.upper) == (lower, upper)


def test_no_preset_is_untested():
    assert len(PRESETS) == 11


def test_percentiles_of_the_foreground_by_hand():
    """The foreground of 0..200 is 1..200: p percent lies at 1 + 1.99 p."""
    window = PRESETS["mr"].resolve(MR)
    assert window.lower == pytest.approx(1 + 1.99 * 0.5)
    assert window.upper == pytest.approx(1 + 1.99 * 99.5)


def test_background_does_not_move_the_percentiles():
    padded = volume_of(np.concatenate([np.zeros(10_000, int), np.arange(201)]))
    assert PRESETS["mr"].resolve(padded) == PRESETS["mr"].resolve(MR)


def test_other_percentiles():
    assert PercentileWindow(0, 100).resolve(MR) == IntensityWindow(1.0, 200.0)


def test_no_foreground():
    with pytest.raises(WindowError, match="no value above 0; name a window in its own units"):
        PercentileWindow().resolve(volume_of([-5, 0]))


def test_flat_foreground():
    with pytest.raises(WindowError, match="lower < upper, got 7.0 and 7.0"):
        PercentileWindow().resolve(volume_of([0, 7, 7]))


def test_a_window_without_width_says_what_to_name():
    with pytest.raises(WindowError, match=r"--window lower,upper.*one grey value shows nothing"):
        PercentileWindow().resolve(volume_of([0, 7, 7]))


def test_ct_is_known_by_air():
    assert looks_like_ct(CT)
    assert not looks_like_ct(MR)
    assert looks_like_ct(volume_of([-201, 5]))
    assert not looks_like_ct(volume_of([-200, 5]))


def test_rules_as_a_user_writes_them():
    assert window_rule("auto", CT) is PRESETS["abdomen"]
    assert window_rule("auto", MR) is PRESETS["mr"]
    assert window_rule("lung", MR) is PRESETS["lung"]
    assert window_rule("-160,240", MR) == FixedWindow(-160, 240)
    assert window_rule(" -57.5 , 1e2", MR) == FixedWindow(-57.5, 100)


@pytest.mark.parametrize("text", ["", "liver", "5", "1,2,3", "a,b"])
def test_rules_that_say_nothing(text):
    with pytest.raises(WindowError, match=r"Unknown window .*expected auto, two numbers.*abdomen"):
        window_rule(text, CT)


@pytest.mark.parametrize("text", ["240,-160", "5,5", "nan,1"])
def test_rules_without_width(text):
    with pytest.raises(WindowError, match="two finite values, lower < upper"):
        window_rule(text, CT).resolve(CT)
