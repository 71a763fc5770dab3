import torch
import torch.nn.functional as F
from cobot.sam.encoder import embed_patches, encode_image
from cobot.sam.frozen_base import MATRICES, cast_frozen

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
    shared = uneven_encoder.blocks[0].mlp.lin1.weight
    cast_frozen(uneven_encoder)
    assert shared.dtype == torch.float32, "who else holds it keeps it"
    for name, module in uneven_encoder.named_modules():
        narrow = isinstance(module, MATRICES) and not name.startswith("patch_embed")
        for parameter in module.parameters(recurse=False):
            frozen = narrow and not parameter.requires_grad
            assert parameter.dtype == (torch.bfloat16 if frozen else torch.float32), name
    ours = gradients(uneven_encoder, handle, lambda x: encode_image(uneven_encoder, x))
    assert all(one.dtype == torch.float32 for one in ours)
    joint = [torch.cat([one.flatten() for one in some]) for some in (ours, stock)]
    assert F.cosine_similarity(*joint, dim=0) >= 0.999


def test_pictures_are_not_rounded_under_autocast(uneven_encoder):
    exact = embed_patches(uneven_encoder, PIXELS)
    cast_frozen(uneven_encoder)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(embed_patches(uneven_encoder, PIXELS), exact)
