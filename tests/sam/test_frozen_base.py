import torch
import torch.nn.functional as F
from cobot.sam.encoder import encode_image
from cobot.sam.frozen_base import cast_frozen

PIXELS = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(1))


def gradients(encoder, handle, run):
    direction = torch.randn(1, 32, 14, 14, generator=torch.Generator().manual_seed(3))
    with torch.autocast("cpu", torch.bfloat16):
        embedding = run(PIXELS)
    trained = list(handle.parameters().values())
    return torch.autograd.grad((embedding.float() * direction).sum(), trained)


def test_adapters_stay_exact_and_learn_as_with_stock_autocast(uneven_encoder, adapt):
    handle = adapt(uneven_encoder, "lora+cobot")
    stock = gradients(uneven_encoder, handle, uneven_encoder)
    cast_frozen(uneven_encoder)
    trained = {id(parameter) for parameter in handle.parameters().values()}
    for name, parameter in uneven_encoder.named_parameters():
        assert parameter.dtype == (torch.float32 if id(parameter) in trained else torch.bfloat16), (
            name
        )
    ours = gradients(uneven_encoder, handle, lambda x: encode_image(uneven_encoder, x))
    assert all(one.dtype == torch.float32 for one in ours)
    joint = [torch.cat([one.flatten() for one in some]) for some in (ours, stock)]
    assert F.cosine_similarity(*joint, dim=0) >= 0.999
