import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cobot.errors import GeometryError
from cobot.sam.frame import OUTSIDE_LOGIT, SAM_MEAN, SAM_STD, Region, SamFrame
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

SPACINGS = st.sampled_from([0.5, 0.8, 1.0, 1.7, 3.0])


@st.composite
def frames(draw):
    """Any slice, a region of it, and SAM's side."""
    shape = draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
    ends = [sorted(draw(st.tuples(*2 * [st.integers(0, n)]))) for n in shape]
    spans = [(a, b) if a < b else (0, n) for (a, b), n in zip(ends, shape, strict=True)]
    spacing = draw(st.tuples(SPACINGS, SPACINGS))
    return SamFrame.fit(
        shape, spacing, draw(st.sampled_from([32, 64])), Region(*spans[0], *spans[1])
    )


def ellipse(shape, region, centre, radii):
    """An ellipse in units of the region's size, drawn on the slice's pixels."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    down = ((rows - region.row_start + 0.5) / region.shape[0] - centre[0]) / radii[0]
    across = ((cols - region.col_start + 0.5) / region.shape[1] - centre[1]) / radii[1]
    return down**2 + across**2 < 1


@pytest.mark.parametrize(
    ("shape", "spacing", "content"),
    [
        ((512, 512), (0.8, 0.8), (256, 256)),
        ((256, 512), (0.8, 0.8), (128, 256)),
        ((256, 512), (1.6, 0.8), (256, 256)),
        ((60, 512), (5.0, 0.75), (200, 256)),
        ((1, 1000), (1.0, 1.0), (1, 256)),
    ],
)
def test_pixels_become_square_and_the_longest_side_fits(shape, spacing, content):
    assert SamFrame.fit(shape, spacing, 256).content_px == content


def test_places_known_by_hand():
    frame = SamFrame.fit((100, 50), (1.0, 1.0), 200, Region(10, 60, 20, 45))
    assert frame.content_px == (200, 100)
    # One pixel is 4 x 4 of the square: the centre of the region's first pixel is at 1.5.
    np.testing.assert_allclose(
        frame.points(np.array([[20.0, 10.0], [44.0, 59.0]])), [[1.5, 1.5], [97.5, 197.5]]
    )
    # A box holds its first and last pixel whole: all 4 x 4 of each.
    np.testing.assert_allclose(frame.box(np.array([20.0, 10.0, 44.0, 59.0])), [0, 0, 99, 199])


@given(frames(), arrays(np.float64, (5, 2), elements=st.floats(-100, 100)))
def test_coordinates_round_trip(frame, xy):
    np.testing.assert_allclose(frame.points_to_pixels(frame.points(xy)), xy, rtol=0, atol=1e-9)
    inside = np.array([[frame.region.col_start, frame.region.row_start]], np.float64)
    assert (frame.points(inside) > -0.5).all()
    assert (frame.points(inside) < np.array(frame.content_px[::-1]) - 0.5).all()


def test_normalises_and_pads_with_zero_afterwards():
    frame = SamFrame.fit((4, 8), (1.0, 1.0), 8)
    image = frame.image(np.full((4, 8), 0.5, np.float32))
    assert image.shape == (1, 3, 8, 8)
    expected = (127.5 - torch.tensor(SAM_MEAN)) / torch.tensor(SAM_STD)
    torch.testing.assert_close(image[0, :, :4], expected[:, None, None].expand(3, 4, 8))
    assert torch.equal(image[0, :, 4:], torch.zeros(3, 4, 8))


def test_shows_the_region_of_any_view():
    unit = np.random.default_rng(0).random((20, 30), np.float32)[::-1, ::-1].T
    frame = SamFrame.fit((30, 20), (1.0, 1.0), 16, Region(5, 21, 2, 18))
    image = frame.image(unit)[0, 0] * SAM_STD[0] + SAM_MEAN[0]
    torch.testing.assert_close(
        image / 255, torch.tensor(unit[5:21, 2:18].copy()), rtol=0, atol=1e-5
    )


def test_shrinking_fades_a_fine_pattern_and_keeps_its_mean():
    stripes = np.zeros((64, 64), np.float32)
    stripes[::2] = 1
    image = SamFrame.fit((64, 64), (1.0, 1.0), 16).image(stripes)[0, 0] * SAM_STD[0] + SAM_MEAN[0]
    torch.testing.assert_close(image / 255, torch.full((16, 16), 0.5), rtol=0, atol=0.05)


@given(frames())
def test_growing_and_shrinking_keep_a_bright_pixel_where_its_centre_goes(frame):
    row, col = frame.region.row_start, frame.region.col_stop - 1
    unit = np.zeros(frame.shape, np.float32)
    unit[row, col] = 1
    image = frame.image(unit)[0, 0]
    shown = image[: frame.content_px[0], : frame.content_px[1]]
    brightest = np.unravel_index(int(shown.argmax()), tuple(shown.shape))
    (x, y), scale = frame.points(np.array([[col, row]], np.float64))[0], frame.scale_xy
    assert abs(brightest[1] - x) <= max(1, scale[0] / 2)
    assert abs(brightest[0] - y) <= max(1, scale[1] / 2)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_logits_at_the_slices_own_size_come_back_unchanged(rows, cols, seed):
    frame = SamFrame.fit((rows, cols), (1.0, 1.0), max(rows, cols))
    logits = torch.randn(
        frame.side_px, frame.side_px, generator=torch.Generator().manual_seed(seed)
    )
    back = frame.mask_to_pixels(logits)
    torch.testing.assert_close(back, logits[:rows, :cols], rtol=0, atol=1e-4)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_mask_round_trips_exactly_at_scale_one(rows, cols, seed):
    mask = np.random.default_rng(seed).random((rows, cols)) < 0.5
    frame = SamFrame.fit((rows, cols), (1.0, 1.0), max(rows, cols))
    back = frame.mask_to_pixels(frame.mask_from_pixels(mask) - 0.5)
    assert np.array_equal(back.numpy() > 0, mask)


@given(st.integers(2, 5), st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_a_mask_round_trips_exactly_through_a_finer_square(times, rows, cols, seed):
    mask = np.random.default_rng(seed).random((rows, cols)) < 0.5
    frame = SamFrame.fit((rows, cols), (2.0, 2.0), times * max(rows, cols))
    back = frame.mask_to_pixels(frame.mask_from_pixels(mask) - 0.5)
    assert np.array_equal(back.numpy() > 0, mask)


@given(frames(), st.floats(0.3, 0.7), st.floats(0.3, 0.7), st.floats(0.15, 0.4))
def test_a_mask_loses_nothing_beyond_the_resize(frame, row, col, radius):
    """Only pixels within one coarse pixel, of slice or square, of the outline may change."""
    mask = ellipse(frame.shape, frame.region, (row, col), (radius, radius))
    rows, cols = frame.region.slices
    shown = np.zeros_like(mask)
    shown[rows, cols] = mask[rows, cols]
    back = frame.mask_to_pixels(frame.mask_from_pixels(shown) - 0.5).numpy() > 0
    band_x, band_y = np.ceil(1 / np.minimum(frame.scale_xy, 1)).astype(int) + 1
    window = np.lib.stride_tricks.sliding_window_view(
        np.pad(shown, ((band_y, band_y), (band_x, band_x)), mode="edge"),
        (2 * band_y + 1, 2 * band_x + 1),
    )
    uniform = window.all(axis=(2, 3)) | ~window.any(axis=(2, 3))
    outside = np.ones_like(shown)
    outside[rows, cols] = False
    assert not back[outside].any()
    inner = uniform & ~outside
    assert np.array_equal(back[inner], shown[inner])


@given(frames(), st.integers(0, 2**32 - 1), st.sampled_from([8, 16, 40]))
def test_logits_are_read_at_each_pixels_centre(frame, seed, cells):
    """Against grid_sample in double precision, at the places that `points` gives."""
    logits = torch.randn(2, cells, cells, generator=torch.Generator().manual_seed(seed))
    down, along = frame.region.slices
    rows, cols = np.mgrid[frame.region.slices]
    xy = frame.points(np.stack([cols, rows], axis=-1).reshape(-1, 2).astype(np.float64))
    places = torch.from_numpy((xy + 0.5) / frame.side_px * 2 - 1).reshape(1, *rows.shape, 2)
    expected = F.grid_sample(
        logits[None].double(), places, padding_mode="border", align_corners=False
    )
    found = frame.mask_to_pixels(logits)[..., down, along]
    torch.testing.assert_close(found.double(), expected[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(16, 16), (16, 8), (8, 16), (12, 16)])
def test_as_many_pixels_as_cells_are_not_copied_where_the_square_is_padded(shape):
    """A ramp down the square and one along it, read at the places that `points` gives."""
    frame = SamFrame.fit(shape, (1.0, 1.0), 64)
    cells = torch.arange(16.0)
    logits = torch.stack([cells[:, None].expand(16, 16), cells.expand(16, 16)])
    found = frame.mask_to_pixels(logits)
    for axis in (0, 1):
        xy = np.zeros((shape[axis], 2))
        xy[:, 1 - axis] = np.arange(shape[axis])
        places = ((frame.points(xy)[:, 1 - axis] + 0.5) / 4 - 0.5).clip(0, 15)
        line = found[axis][:, 0] if axis == 0 else found[axis][0]
        np.testing.assert_allclose(line.numpy(), places, atol=1e-4)


@pytest.mark.parametrize(("rows", "cols"), [(16, 20), (20, 16), (16, 16)])
def test_a_region_with_as_many_pixels_as_cells(rows, cols):
    """Narrow spacing down: the rows fill less of the square than there are cells."""
    frame = SamFrame.fit((rows, cols), (0.5, 1.0), 64)
    assert frame.content_px[0] < 64
    ramp = torch.arange(16.0)[:, None].expand(16, 16)
    xy = np.stack([np.zeros(rows), np.arange(rows)], axis=1)
    places = ((frame.points(xy)[:, 1] + 0.5) / 4 - 0.5).clip(0, 15)
    np.testing.assert_allclose(frame.mask_to_pixels(ramp)[:, 0].numpy(), places, atol=1e-4)


def test_outside_the_region_is_surely_background():
    frame = SamFrame.fit((30, 40), (1.0, 1.0), 64, Region(5, 25, 10, 40))
    logits = frame.mask_to_pixels(torch.full((2, 16, 16), 9.0))
    assert logits.shape == (2, 30, 40)
    torch.testing.assert_close(logits[:, 5:25, 10:], torch.full((2, 20, 30), 9.0))
    outside = torch.ones(30, 40, dtype=torch.bool)
    outside[5:25, 10:] = False
    assert (logits[:, outside] == OUTSIDE_LOGIT).all()


def test_padding_does_not_leak_into_the_slice():
    frame = SamFrame.fit((32, 64), (1.0, 1.0), 64)
    logits = torch.full((64, 64), 100.0)
    logits[:32] = torch.linspace(-1, 1, 64)
    torch.testing.assert_close(frame.mask_to_pixels(logits), logits[:32], rtol=0, atol=1e-3)


def test_low_resolution_masks_hold_the_share_of_the_object():
    mask = np.zeros((32, 32), bool)
    mask[:16, :8] = True
    low = SamFrame.fit((32, 32), (1.0, 1.0), 64).mask_from_pixels(mask, 16)
    assert low.shape == (16, 16)
    assert abs(low.sum().item() - 8 * 4) < 0.1
    assert low[3, 1] == 1
    assert low[12, 12] == 0


@pytest.mark.parametrize("region", [Region(0, 31, 0, 5), Region(-1, 5, 0, 5), Region(3, 3, 0, 5)])
def test_refuses_a_region_off_the_slice(region):
    with pytest.raises(
        GeometryError, match="does not lie inside a slice of 30 rows and 20 columns"
    ):
        SamFrame.fit((30, 20), (1.0, 1.0), 64, region)


def test_refuses_a_spacing_of_nothing():
    with pytest.raises(GeometryError, match="above 0 mm"):
        SamFrame.fit((30, 20), (1.0, 0.0), 64)
