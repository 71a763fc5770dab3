"""Which questions are recorded, and that a recording's answers are the decoder's own.

Without a card a recording is played by what it stands for: the decoder on tensors of its own.
"""

import copy
from dataclasses import dataclass

import pytest
import torch
from cobot.sam.decoder_graph import (
    KINDS_KEPT,
    DecoderGraphs,
    own_copies,
    record_decoder,
)
from cobot.sam.reduced_decoder import Question, decode_chosen
from cobot.sam.slice_memory import SliceMemories


@dataclass
class Played:
    """A recording without a card; counts its replays."""

    decoder: object
    memory: object
    asked: Question
    replays: int = 0

    def decode(self, memory, asked):
        assert asked.sparse.shape == self.asked.sparse.shape
        self.replays += 1
        return decode_chosen(self.decoder, *own_copies(memory, asked))


@pytest.fixture
def recorded():
    return []


@pytest.fixture
def graphs(small_sam, recorded):
    def recorder(decoder, memory, asked):
        recorded.append(Played(decoder, *own_copies(memory, asked)))
        return recorded[-1]

    return DecoderGraphs(copy.deepcopy(small_sam.mask_decoder), recorder)


def memory_of(sam, seed=0):
    features = torch.randn(1, 32, 8, 8, generator=torch.Generator().manual_seed(seed))
    return SliceMemories(sam).of(features)


def question(count, tokens=2, ambiguous=False, changed=False):
    generator = torch.Generator().manual_seed(count)
    kinds = torch.tensor([ambiguous and index == 0 for index in range(count)])
    image = torch.randn(count, 32, 8, 8, generator=generator) if changed else None
    sparse = torch.randn(count, tokens, 32, generator=generator)
    return Question(sparse, kinds, ambiguous, image)


@pytest.mark.parametrize("count", [1, 3, 16, 17])
@pytest.mark.parametrize("ambiguous", [False, True])
@pytest.mark.parametrize("changed", [False, True])
@torch.inference_mode()
def test_answers_are_the_decoders_however_often_and_many_are_asked(
    small_sam, graphs, recorded, count, ambiguous, changed
):
    for seed in range(3):
        memory, asked = memory_of(small_sam, seed), question(count, 2, ambiguous, changed)
        given = graphs.decode(memory, asked)
        wanted = decode_chosen(small_sam.mask_decoder, memory, asked)
        torch.testing.assert_close(given.logits, wanted.logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(given.predicted_iou, wanted.predicted_iou, rtol=0, atol=1e-5)
    sizes = [(len(one.asked.sparse), one.replays) for one in recorded]
    assert sizes == {1: [(1, 2)], 3: [(4, 2)], 16: [(16, 2)], 17: []}[count]


@torch.inference_mode()
def test_kinds_are_apart_and_the_oldest_goes(small_sam, graphs, recorded):
    memory = memory_of(small_sam)
    for asked in (question(1), question(1, ambiguous=True), question(1, changed=True)):
        for _ in range(2):
            graphs.decode(memory, asked)
    assert len(recorded) == 3
    for tokens in range(3, 3 + KINDS_KEPT):
        graphs.decode(memory, question(1, tokens))
    for _ in range(2):
        graphs.decode(memory, question(1))
    assert len(recorded) == 4


@torch.inference_mode()
def test_moved_weights_are_recorded_anew(small_sam, graphs, recorded):
    memory = memory_of(small_sam)
    for _ in range(2):
        graphs.decode(memory, question(1))
    weight = graphs._decoder.iou_token.weight
    weight.data = weight.data.clone()
    for _ in range(2):
        graphs.decode(memory, question(1))
    assert [one.replays for one in recorded] == [1, 1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.inference_mode()
def test_a_recording_on_a_card_gives_the_decoders_answers(small_sam):
    sam = copy.deepcopy(small_sam).cuda()
    memories, card = SliceMemories(sam), torch.device("cuda")
    asked = question(3, ambiguous=True, changed=True)
    asked = Question(asked.sparse.to(card), asked.ambiguous.to(card), True, asked.changed.to(card))
    slices = [torch.randn(1, 32, 8, 8, device=card) for _ in range(2)]
    recorded = record_decoder(sam.mask_decoder, memories.of(slices[0]), asked)
    for features in slices:
        memory = memories.of(features)
        given, wanted = (
            recorded.decode(memory, asked),
            decode_chosen(sam.mask_decoder, memory, asked),
        )
        torch.testing.assert_close(given.logits, wanted.logits, rtol=0, atol=1e-4)
