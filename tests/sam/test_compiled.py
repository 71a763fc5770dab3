from inspect import unwrap

import torch
from cobot.sam.attention_forms import _bias
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


def test_the_bias_is_compiled_in_one_piece():
    """Any step that breaks the graph in two is refused here; 9 keys are no multiple of 8."""
    rows, cols = torch.rand(1, 2, 9, 3), torch.rand(1, 2, 9, 3)
    plain = unwrap(_bias)
    whole = torch.compile(plain, dynamic=False, backend="eager", fullgraph=True)
    torch.testing.assert_close(whole(rows, cols), plain(rows, cols), rtol=0, atol=0)
