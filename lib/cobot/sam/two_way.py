"""The decoder's two-way transformer with folded projections and a remembered first layer.

The image is walked through part by part. One walk puts in what the tokens of a layer have to say
and lets the tokens of the next look at the result, so that a part is in the cache for both; parts
do not see each other and are worked on side by side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from segment_anything.modeling import TwoWayTransformer
from segment_anything.modeling.transformer import TwoWayAttentionBlock
from torch import Tensor

from cobot.sam.cpu_threads import side_by_side
from cobot.sam.folded_attention import (
    Glance,
    folded_answer,
    folded_query,
    glance,
    outgoing,
    over_tokens,
    put_together,
    scaled_heads,
)
from cobot.sam.slice_memory import SliceMemory

NUMBERS_AT_ONCE = 2**17
"""Of the image, all prompts together, on a CPU: half a MB, which stays in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some places of the image.

    Attributes:
        places: which.
        image: what they know so far.
        positions: their positional encodings, the same for all prompts.
    """

    places: slice
    image: Float[Tensor, "b n c"]
    positions: Float[Tensor, "1 n c"]

    @property
    def placed(self) -> Float[Tensor, "b n c"]:
        """The image with its positions added."""
        return self.image + self.positions


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What tokens have to say to places that look at them.

    Attributes:
        shares: how much each place of a part takes from each head and token.
        added: what a place gets that takes one of them alone.
    """

    shares: Callable[[Part], Float[Tensor, "b rows n"]]
    added: Float[Tensor, "b rows c"]


def two_way(
    transformer: TwoWayTransformer,
    prompt: Float[Tensor, "b t c"],
    slice_: SliceMemory,
    changed: Float[Tensor, "b n c"] | None,
    looking: int,
) -> tuple[Float[Tensor, "b looking c"], Sequence[Part]]:
    """What the stock transformer gives for its first `looking` tokens, and the image.

    Args:
        transformer: the stock decoder's.
        prompt: the decoder's own tokens, then those of the prompts.
        slice_: what is remembered of the slice.
        changed: for each prompt the image with its mask prompt; None takes the slice's own.
        looking: tokens that take the last look at the image; the others' answers are not needed.
    """
    first, *others = transformer.layers
    tokens = _self_attend(first, prompt, prompt)
    if changed is None:
        parts = _cut(slice_.image.expand(len(prompt), -1, -1), slice_.positions)
        tokens = _digest(first, tokens + _remembered_look(first, tokens + prompt, slice_))
        answer = _remembered_answer(first, tokens, prompt, slice_)
    else:
        parts = _cut(changed, slice_.positions)
        looks = first.cross_attn_token_to_image
        query = folded_query(looks, tokens + prompt)
        seen = side_by_side(lambda part: glance(query, part.placed, part.image), parts)
        tokens = _digest(first, tokens + put_together(looks, seen))
        answer = _answer(first, tokens, prompt)
    before = first
    for layer in others:
        tokens = _self_attend(layer, tokens, prompt)
        looks = layer.cross_attn_token_to_image
        query = folded_query(looks, tokens + prompt)
        parts, glances = _walk(before, answer, query, parts)
        tokens = _digest(layer, tokens + put_together(looks, glances))
        answer, before = _answer(layer, tokens, prompt), layer
    tokens, looks = tokens[:, :looking], transformer.final_attn_token_to_image
    query = folded_query(looks, tokens + prompt[:, :looking])
    parts, glances = _walk(before, answer, query, parts)
    return transformer.norm_final_attn(tokens + put_together(looks, glances)), parts


def _cut(image: Float[Tensor, "b n c"], positions: Float[Tensor, "1 n c"]) -> Sequence[Part]:
    """Cut the image; on a GPU, which wants large products, into one piece."""
    b, n, c = image.shape
    size = n if image.is_cuda else min(n, max(1, NUMBERS_AT_ONCE // (b * c)))
    spans = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    return [Part(some, image[:, some], positions[:, some]) for some in spans]


def _walk(
    layer: TwoWayAttentionBlock,
    answer: Answer,
    query: Float[Tensor, "b rows c"],
    parts: Sequence[Part],
) -> tuple[Sequence[Part], Sequence[Glance]]:
    """Once through the image.

    Args:
        layer: whose answer it is.
        answer: what its tokens have to say to the image.
        query: what the tokens of the next layer look for in the result.
        parts: the image.
    """

    def work(part: Part) -> tuple[Part, Glance]:
        told = torch.baddbmm(part.image, answer.shares(part).mT, answer.added)
        after = replace(part, image=layer.norm4(told))
        return after, glance(query, after.placed, after.image)

    done = side_by_side(work, parts)
    return [part for part, _ in done], [seen for _, seen in done]


def _answer(
    layer: TwoWayAttentionBlock, tokens: Float[Tensor, "b t c"], prompt: Float[Tensor, "b t c"]
) -> Answer:
    folded = folded_answer(layer.cross_attn_image_to_token, tokens + prompt, tokens)
    return Answer(lambda part: folded.shares(part.placed), folded.added)


def _remembered_look(
    layer: TwoWayAttentionBlock, tokens: Float[Tensor, "b t c"], slice_: SliceMemory
) -> Float[Tensor, "b t c"]:
    """The first look at a remembered slice; all prompts look at one image, in one product."""
    looks, (b, t, _) = layer.cross_attn_token_to_image, tokens.shape
    query = scaled_heads(looks, looks.q_proj(tokens))
    scores = (query.transpose(0, 1).flatten(1, 2) @ slice_.key).softmax(dim=-1)
    read = (scores @ slice_.value.mT).unflatten(1, (b, t)).permute(1, 2, 0, 3).flatten(2)
    return looks.out_proj(read)


def _remembered_answer(
    layer: TwoWayAttentionBlock,
    tokens: Float[Tensor, "b t c"],
    prompt: Float[Tensor, "b t c"],
    slice_: SliceMemory,
) -> Answer:
    answers, t = layer.cross_attn_image_to_token, tokens.shape[1]
    key = scaled_heads(answers, answers.k_proj(tokens + prompt))
    return Answer(
        lambda part: over_tokens((key @ slice_.query[:, :, part.places]).flatten(1, 2), t),
        outgoing(answers, tokens),
    )


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
