import numpy as np
import pytest
import torch
from cobot.sam.frame import Region, SamFrame
from cobot.sam.grey_patches import GreyPictures, fold_to_grey

# Of a square of 112 px in patches of 8: all of it, wide, high, cut within a patch, one line.
REGIONS = [(20, 20), (10, 20), (20, 11), (17, 20), (1, 20), (20, 1)]


def framed(shape, seed=0):
    unit = np.random.default_rng(seed).random(shape, dtype=np.float32)
    return SamFrame.fit(shape, (1.0, 1.0), 112), unit


def assert_close(ours, stock):
    assert (ours - stock).norm() <= 1e-5 * stock.norm()


@pytest.mark.parametrize("shape", REGIONS)
def test_equals_the_stock_embedding_of_three_normalised_channels(uneven_encoder, shape):
    frame, unit = framed(shape)
    pictures = GreyPictures(frame.grey(unit), [frame.content_px])
    ours = fold_to_grey(uneven_encoder.patch_embed).embed(pictures)
    with torch.no_grad():
        assert_close(ours, uneven_encoder.patch_embed(frame.image(unit)))


def test_a_batch_may_hold_pictures_of_every_shape(uneven_encoder):
    views = [framed(shape, seed) for seed, shape in enumerate(REGIONS)]
    grey = torch.cat([frame.grey(unit) for frame, unit in views])
    pictures = GreyPictures(grey, [frame.content_px for frame, _ in views])
    ours = fold_to_grey(uneven_encoder.patch_embed).embed(pictures)
    with torch.no_grad():
        stock = uneven_encoder.patch_embed(torch.cat([f.image(unit) for f, unit in views]))
    assert_close(ours, stock)


def test_beside_the_picture_there_is_only_the_bias(uneven_encoder):
    frame, unit = framed((10, 20))
    tokens = fold_to_grey(uneven_encoder.patch_embed).embed(
        GreyPictures(frame.grey(unit), [frame.content_px])
    )
    bias = uneven_encoder.patch_embed.proj.bias
    torch.testing.assert_close(tokens[0, 7:], bias.expand(7, 14, 48))
    assert (tokens[0, :7] - bias).abs().min() > 0


def test_a_frame_gives_the_grey_of_its_region():
    unit = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    frame = SamFrame.fit((3, 4), (1.0, 1.0), 2, Region(1, 2, 0, 2))
    np.testing.assert_allclose(frame.grey(unit)[0, 0], [[unit[1, 0], unit[1, 1]], [0, 0]])
