import torch
from cobot.sam.compiled import compile_blocks
from cobot.sam.grey_patches import GreyPictures
from cobot.sam.prepared import prepare_encoder


def test_compiled_blocks_give_the_same_and_follow_new_weights(uneven_encoder):
    """Traced but not translated: that needs a C++ compiler and half a minute."""
    prepared = prepare_encoder(uneven_encoder, 112, torch.float32)
    compiled = compile_blocks(prepared, batch=2, backend="eager")
    assert compiled.seconds["windows"] > 0
    pictures = GreyPictures(torch.rand(2, 1, 112, 112), [(112, 112), (112, 50)])
    torch.testing.assert_close(compiled.encoder.embed(pictures), prepared.embed(pictures))
    with torch.no_grad():
        uneven_encoder.blocks[0].mlp.lin1.weight.mul_(2)
    fresh = compiled.encoder.current()
    assert fresh.window_block is compiled.encoder.window_block
    torch.testing.assert_close(fresh.embed(pictures), prepared.current().embed(pictures))
