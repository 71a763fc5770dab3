"""Tables cut once give what interpolation at every use gives."""

from dataclasses import replace

import pytest
import torch
from cobot.errors import WeightsError
from cobot.sam.build import build_sam, encoder_shape
from cobot.sam.encoder import encode_image
from cobot.sam.position_tables import at_another_side

SMALL = replace(encoder_shape("tiny"), image_size_px=64)
LARGE = replace(SMALL, image_size_px=128)


@torch.no_grad()
def test_a_smaller_side_embeds_as_with_interpolated_tables():
    torch.manual_seed(0)
    sam, pixels = build_sam(LARGE), torch.randn(1, 3, 64, 64)
    for parameter in sam.image_encoder.parameters():
        parameter.normal_(0, 0.1)
    cut = at_another_side(sam, SMALL)
    expected = encode_image(sam.image_encoder, pixels)
    torch.testing.assert_close(encode_image(cut.image_encoder, pixels), expected)


def test_the_same_side_is_a_plain_copy():
    sam = build_sam(SMALL)
    copy = at_another_side(sam, SMALL)
    for ours, theirs in zip(sam.parameters(), copy.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_another_model_is_refused():
    with pytest.raises(WeightsError, match="no position table"):
        at_another_side(build_sam(LARGE), replace(SMALL, embed_dim=96))
