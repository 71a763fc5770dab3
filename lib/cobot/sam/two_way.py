"""The decoder's two-way transformer with folded projections and a remembered first layer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from segment_anything.modeling import TwoWayTransformer
from segment_anything.modeling.transformer import TwoWayAttentionBlock
from torch import Tensor

from cobot.sam.folded_attention import (
    ImageParts,
    folded_answer,
    folded_query,
    look,
    outgoing,
    over_tokens,
    scaled_heads,
)
from cobot.sam.slice_memory import SliceMemory

PLACES_AT_ONCE = 512
"""Of the image, all prompts together, on a CPU: half a MB, which stays in the cache."""

PositionParts = Sequence[Float[Tensor, "1 _ c"]]
"""Positional encodings of the image's parts, the same for all prompts."""


@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """Tokens and image on their way through the layers.

    Attributes:
        tokens: what the tokens know so far.
        prompt: the tokens as they came, added to them wherever they look or are looked at.
        image: what the places know so far.
        positions: of the places, added likewise.
    """

    tokens: Float[Tensor, "b t c"]
    prompt: Float[Tensor, "b t c"]
    image: ImageParts
    positions: PositionParts

    def placed(self) -> ImageParts:
        """The image with its positions added."""
        return [part + place for part, place in zip(self.image, self.positions, strict=True)]


def two_way(
    transformer: TwoWayTransformer,
    prompt: Float[Tensor, "b t c"],
    slice_: SliceMemory,
    changed: Float[Tensor, "b n c"] | None,
    looking: int,
) -> tuple[Float[Tensor, "b looking c"], ImageParts]:
    """What the stock transformer gives for its first `looking` tokens, and the image.

    Args:
        transformer: the stock decoder's.
        prompt: the decoder's own tokens, then those of the prompts.
        slice_: what is remembered of the slice.
        changed: for each prompt the image with its mask prompt; None takes the slice's own.
        looking: tokens that take the last look at the image; the others' answers are not needed.
    """
    first, *others = transformer.layers
    positions = image_parts(slice_.positions, len(prompt))
    if changed is None:
        state = _first_layer(first, prompt, slice_, positions)
    else:
        state = Exchange(prompt, prompt, image_parts(changed, len(prompt)), positions)
        state = _layer(first, state)
    for layer in others:
        state = _layer(layer, state)
    attention, tokens = transformer.final_attn_token_to_image, state.tokens[:, :looking]
    query = folded_query(attention, tokens + prompt[:, :looking])
    read = look(attention, query, state.placed(), state.image)
    return transformer.norm_final_attn(tokens + read), state.image


def image_parts(places: Float[Tensor, "a n c"], prompts: int) -> Sequence[Float[Tensor, "a _ c"]]:
    """Cut the image; on a GPU, which wants large products, into one piece."""
    at_once = places.shape[1] if places.is_cuda else max(1, PLACES_AT_ONCE // prompts)
    return places.split(at_once, dim=1)


def _layer(layer: TwoWayAttentionBlock, state: Exchange) -> Exchange:
    """Tokens among themselves, tokens look at the image, the image looks at the tokens."""
    tokens, placed = _self_attend(layer, state.tokens, state.prompt), state.placed()
    looks, answers = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
    query = folded_query(looks, tokens + state.prompt)
    tokens = _digest(layer, tokens + look(looks, query, placed, state.image))
    answer = folded_answer(answers, tokens + state.prompt, tokens)
    image = [
        layer.norm4(torch.baddbmm(part, answer.shares(place).mT, answer.added))
        for part, place in zip(state.image, placed, strict=True)
    ]
    return replace(state, tokens=tokens, image=image)


def _first_layer(
    layer: TwoWayAttentionBlock,
    prompt: Float[Tensor, "b t c"],
    slice_: SliceMemory,
    positions: PositionParts,
) -> Exchange:
    """The first layer on a remembered slice; all prompts look at one image, in one product."""
    b, t, _ = prompt.shape
    tokens = _self_attend(layer, prompt, prompt)
    looks, answers = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
    query = scaled_heads(looks, looks.q_proj(tokens + prompt))
    scores = (query.transpose(0, 1).flatten(1, 2) @ slice_.key).softmax(dim=-1)
    read = (scores @ slice_.value.mT).unflatten(1, (b, t)).permute(1, 2, 0, 3).flatten(2)
    tokens = _digest(layer, tokens + looks.out_proj(read))
    key = scaled_heads(answers, answers.k_proj(tokens + prompt))
    shares = over_tokens((key @ slice_.query).flatten(1, 2), t)
    added = outgoing(answers, tokens)
    image = [
        layer.norm4(torch.baddbmm(part, share, added))
        for part, share in zip(
            image_parts(slice_.image.expand(b, -1, -1), b), image_parts(shares.mT, b), strict=True
        )
    ]
    return Exchange(tokens, prompt, image, positions)


def _self_attend(
    layer: TwoWayAttentionBlock, tokens: Float[Tensor, "b t c"], prompt: Float[Tensor, "b t c"]
) -> Float[Tensor, "b t c"]:
    if layer.skip_first_layer_pe:
        return layer.norm1(layer.self_attn(q=tokens, k=tokens, v=tokens))
    placed = tokens + prompt
    return layer.norm1(tokens + layer.self_attn(q=placed, k=placed, v=tokens))


def _digest(layer: TwoWayAttentionBlock, tokens: Float[Tensor, "b t c"]) -> Float[Tensor, "b t c"]:
    tokens = layer.norm2(tokens)
    return layer.norm3(tokens + layer.mlp(tokens))
