import pytest
import torch
from cobot.sam.encoder import encode_image


@pytest.mark.parametrize("name", ["lora", "lora+cobot", "adaptformer", "adaptformer+cobot"])
def test_fast_encoder_sees_adapters_folded_or_not_and_sends_gradients(name, encoder, image, attach):
    """Windows of 3 on an 8 x 8 grid pad: there the fast path writes qkv's bias itself."""
    handle = attach(encoder, name)
    expected = encoder(image)
    embedding = encode_image(encoder, image)
    torch.testing.assert_close(embedding, expected, atol=1e-5, rtol=1e-5)
    embedding.square().sum().backward()
    assert all(parameter.grad is not None for parameter in handle.parameters().values())
    handle.fold()
    torch.testing.assert_close(encode_image(encoder, image), expected, atol=1e-5, rtol=1e-5)
