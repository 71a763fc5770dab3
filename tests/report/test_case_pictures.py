"""Which slices are shown, and that they can be seen."""

import base64
import io

import matplotlib.image
import numpy as np
from cobot.intensity import IntensityWindow
from cobot.planes import plane_across
from cobot.report.case_pictures import PicturedCase, choose_slices, colour_of, draw_pictures
from cobot.volume import LabelMap, Volume

from .batch_example import AFFINE, SHAPE, organ


def test_the_least_certain_and_the_largest_are_chosen():
    areas = {"liver": np.array([0, 5, 90, 100, 80, 0]), "spleen": np.array([0, 0, 0, 4, 9, 0])}
    chosen = choose_slices(areas, {"liver": {1: 0.3, 2: 0.8}, "spleen": {4: 0.5}})
    assert [(one.index, one.reason) for one in chosen] == [
        (1, "least certain: liver 0.30"),
        (3, "largest liver"),
        (4, "largest spleen"),
    ]


def test_one_slice_may_show_many_and_the_number_is_limited():
    ramp = np.arange(10)
    shared = choose_slices({name: ramp for name in "abcd"}, {})
    assert [(one.index, one.reason) for one in shared] == [(9, "largest a, b, c and 1 more")]
    apart = {str(index): np.eye(10, dtype=int)[index] for index in range(10)}
    assert len(choose_slices(apart, {"0": {0: 0.1}}, count=4)) == 4
    assert choose_slices({"a": np.zeros(5, int)}, {}) == []


def test_a_picture_shows_the_mask_in_its_colour():
    voxels = organ((10, 10, 3))
    volume = Volume(np.full(SHAPE, 40, np.int16), AFFINE)
    case = PicturedCase(
        volume, IntensityWindow(-160.0, 240.0), LabelMap(voxels, AFFINE, {1: "liver"}),
        plane_across(AFFINE, 2), {1: voxels == 1},
    )  # fmt: skip
    (picture,) = draw_pictures(case, choose_slices({"liver": voxels.sum(axis=(0, 1))}, {}))
    head, _, text = picture.source.partition(",")
    assert head == "data:image/jpeg;base64"
    pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(text)), format="jpeg")
    assert pixels.shape == (picture.height_px, picture.width_px, 3)
    # The organ is orange: more red than blue; the rest is grey.
    share = (pixels[..., 0].astype(int) - pixels[..., 2] > 30).mean()
    assert 0.02 < share < 0.08
    assert picture.caption == "k = 3: largest liver"


def test_colours_stay_apart_beyond_the_palette():
    assert len({colour_of(place + 1, place) for place in range(14)}) == 14
