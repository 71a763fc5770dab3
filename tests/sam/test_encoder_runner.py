import logging
from functools import partial

import pytest
import torch
from cobot.sam import encoder_runner
from cobot.sam.compiled import compile_blocks
from cobot.sam.encoder_runner import EncoderRunner
from cobot.sam.grey_patches import GreyPictures
from cobot.sam.prepared import prepare_encoder

PICTURES = GreyPictures(
    torch.rand(2, 1, 112, 112, generator=torch.Generator().manual_seed(0)), [(112, 112), (112, 50)]
)


@pytest.mark.parametrize("compiled", [False, True])
def test_it_embeds_and_follows_the_weights(uneven_encoder, monkeypatch, caplog, compiled):
    # Traced but not translated: that needs a C++ compiler and half a minute.
    monkeypatch.setattr(encoder_runner, "compile_blocks", partial(compile_blocks, backend="eager"))
    prepared = prepare_encoder(uneven_encoder, 112, torch.float32)
    runner = EncoderRunner(prepared, compiled)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            torch.testing.assert_close(runner.embed(PICTURES), prepared.embed(PICTURES))
            with torch.no_grad():
                uneven_encoder.blocks[0].mlp.lin1.weight.mul_(2)
            prepared = prepared.current()
    told = [one.message for one in caplog.records if "blocks are compiled" in one.message]
    assert len(told) == compiled


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_card_each_batch_size_is_recorded(uneven_encoder):
    prepared = prepare_encoder(uneven_encoder.cuda(), 112, torch.bfloat16)
    runner = EncoderRunner(prepared, compiled=True)
    on_card = PICTURES.to(torch.device("cuda"))
    one = GreyPictures(on_card.grey[:1], on_card.content_px[:1])
    for pictures in (on_card, one, on_card):
        wanted = prepared.embed(pictures)
        torch.testing.assert_close(runner.embed(pictures), wanted, rtol=0.05, atol=0.05)
