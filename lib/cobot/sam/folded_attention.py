"""The decoder's attention between a few tokens and the whole image, projected on the token side.

SAM's decoder projects every place of the image for each prompt, although only a handful of tokens
look at them. A product of three matrices may be taken in either order: here the weights of the
image side go into the tokens first, one set for each head, and the image is read as it is.

    token to image   softmax((q W_k) X^T) X W_v^T       X: places by channels, untouched
    image to token   softmax((k W_q) X^T)^T (v W_o^T)

The bias of W_k shifts all scores of a token alike and drops out of the softmax. Over the tokens the
softmax sums to one for each head, so the bias of the output projection can be spread over them.

Rows are heads by tokens. The image comes in parts of some places each, so that what is in hand
stays small. Nothing is stored: weights are read from stock `segment_anything` layers at each call.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from segment_anything.modeling.transformer import Attention
from torch import Tensor


def folded_query(attention: Attention, tokens: Float[Tensor, "b t c"]) -> Float[Tensor, "b rows c"]:
    """What tokens look for in an image whose positions are added, keys and scale put in."""
    query = scaled_heads(attention, attention.q_proj(tokens))
    return (query @ per_head(attention, attention.k_proj.weight)).flatten(1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Glance:
    """What tokens saw in one part of the image, to be put together with the other parts.

    Attributes:
        top: the highest score of each row.
        total: sum of the exponentials of scores below it.
        read: the image's places, summed by these exponentials.
    """

    top: Float[Tensor, "b rows 1"]
    total: Float[Tensor, "b rows 1"]
    read: Float[Tensor, "b rows c"]


def glance(
    query: Float[Tensor, "b rows c"],
    placed: Float[Tensor, "b n c"],
    image: Float[Tensor, "b n c"],
) -> Glance:
    """Look at one part of the image.

    Args:
        query: of the tokens, from `folded_query`.
        placed: the part with its positions added.
        image: the part alone.
    """
    scores = torch.bmm(query, placed.mT)
    top = scores.amax(dim=2, keepdim=True)
    weights = scores.sub_(top).exp_()
    return Glance(top, weights.sum(dim=2, keepdim=True), torch.bmm(weights, image))


def put_together(attention: Attention, glances: Sequence[Glance]) -> Float[Tensor, "b t c"]:
    """What `attention(q=tokens, k=placed, v=image)` gives, from glances at all parts."""
    top = torch.stack([one.top for one in glances])
    share = (top - top.amax(dim=0)).exp()
    total = (share * torch.stack([one.total for one in glances])).sum(dim=0)
    read = (share * torch.stack([one.read for one in glances])).sum(dim=0) / total
    by_head = read.unflatten(1, (attention.num_heads, -1))
    values = by_head @ per_head(attention, attention.v_proj.weight).mT
    return attention.out_proj(values.transpose(1, 2).flatten(2) + attention.v_proj.bias)


@dataclass(frozen=True, slots=True, eq=False)
class TokenAnswer:
    """What tokens have to say to an image that looks at them.

    Attributes:
        key: what each token is found by.
        shift: a constant for each key, from the bias of the image's query.
        added: what a place gets that looks at this token alone, output projection included.
        tokens: how many; the softmax is over them.
    """

    key: Float[Tensor, "b rows c"]
    shift: Float[Tensor, "b rows 1"]
    added: Float[Tensor, "b rows c"]
    tokens: int

    def shares(self, placed: Float[Tensor, "b n c"]) -> Float[Tensor, "b rows n"]:
        """How much each place, its position added, takes from each head and token."""
        return over_tokens(torch.baddbmm(self.shift, self.key, placed.mT), self.tokens)


def folded_answer(
    attention: Attention, tokens: Float[Tensor, "b t c"], values: Float[Tensor, "b t c"]
) -> TokenAnswer:
    """Of `attention(q=placed, k=tokens, v=values)` all that does not need the image.

    The rest is `answer.shares(placed)` transposed times `answer.added`.

    Args:
        attention: stock layer whose query side is the image.
        tokens: with their positions added.
        values: the tokens alone.
    """
    key = scaled_heads(attention, attention.k_proj(tokens))
    bias = attention.q_proj.bias.reshape(attention.num_heads, -1, 1)
    return TokenAnswer(
        key=(key @ per_head(attention, attention.q_proj.weight)).flatten(1, 2),
        shift=(key @ bias).flatten(1, 2),
        added=outgoing(attention, values),
        tokens=tokens.shape[1],
    )


def scaled_heads(
    attention: Attention, projected: Float[Tensor, "b t inner"]
) -> Float[Tensor, "b heads t d"]:
    """Split projected tokens into heads and put the attention's scale into them."""
    split = projected.unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
    return split / math.sqrt(split.shape[-1])


def per_head(attention: Attention, weight: Float[Tensor, "inner c"]) -> Float[Tensor, "heads d c"]:
    """Split a projection's rows into heads."""
    return weight.unflatten(0, (attention.num_heads, -1))


def over_tokens(scores: Float[Tensor, "b rows n"], tokens: int) -> Float[Tensor, "b rows n"]:
    """Softmax over the tokens of each head."""
    return scores.unflatten(1, (-1, tokens)).softmax(dim=2).flatten(1, 2)


def outgoing(attention: Attention, values: Float[Tensor, "b t c"]) -> Float[Tensor, "b rows c"]:
    """What each head and token adds to a place, output projection and its bias included."""
    heads, out = attention.num_heads, attention.out_proj
    by_head = attention.v_proj(values).unflatten(2, (heads, -1)).transpose(1, 2)
    return (by_head @ per_head(attention, out.weight.T) + out.bias / heads).flatten(1, 2)
