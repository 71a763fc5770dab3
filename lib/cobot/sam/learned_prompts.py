"""Prompts that were learnt, not drawn: tokens and mask logits straight to the decoder."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cobot.sam.answer import AskedModel, SliceEmbedding
from cobot.sam.decoder import embed_masks
from cobot.sam.reduced_decoder import ChosenMasks, Question


@dataclass(frozen=True, slots=True, eq=False)
class LearnedQuestion:
    """What is asked on one slice, in place of clicks and boxes.

    Attributes:
        tokens: of the prompt encoder's width.
        shown: mask logits, 4 times the embedding's side.
    """

    tokens: Float[Tensor, "b t c"]
    shown: Float[Tensor, "b h w"]


@torch.inference_mode()
def answer_learned(
    model: AskedModel, embedding: SliceEmbedding, asked: LearnedQuestion
) -> ChosenMasks:
    """The decoder's single mask for each question, all in one batch.

    Nothing of `shown` is added to the logits; who learnt the prompts knows what they are worth.
    """
    encoder = model.sam.prompt_encoder
    weight = encoder.no_mask_embed.weight
    dense = embed_masks(encoder, list(asked.shown.to(weight)), embedding.features.shape[-1])
    question = Question(
        sparse=asked.tokens.to(weight),
        ambiguous=torch.zeros(len(asked.tokens), dtype=torch.bool, device=weight.device),
        several=False,
        changed=embedding.features.to(weight) + dense,
    )
    return model.decode(model.memories.of(embedding.features), question)
