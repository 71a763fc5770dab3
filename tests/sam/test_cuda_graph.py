import pytest
import torch
from cobot.errors import ConfigError
from cobot.sam.cuda_graph import record_encoder
from cobot.sam.grey_patches import GreyPictures
from cobot.sam.prepared import prepare_encoder


def test_refuses_an_encoder_on_the_cpu(uneven_encoder):
    prepared = prepare_encoder(uneven_encoder, 112, torch.float32)
    with pytest.raises(ConfigError, match="on a CUDA device, it is on cpu"):
        record_encoder(prepared, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_recording_gives_what_was_recorded(uneven_encoder):
    prepared = prepare_encoder(uneven_encoder.cuda(), 112, torch.bfloat16)
    recorded = record_encoder(prepared, 2)
    for seed in range(2):
        torch.manual_seed(seed)
        pictures = GreyPictures(torch.rand(2, 1, 112, 112), [(112, 112), (112, 50)])
        on_card = pictures.to(torch.device("cuda"))
        torch.testing.assert_close(recorded.embed(on_card), prepared.embed(on_card))
    with pytest.raises(ConfigError, match="takes 2 pictures at once, got 1"):
        recorded.embed(GreyPictures(torch.rand(1, 1, 112, 112).cuda(), [(112, 112)]))
