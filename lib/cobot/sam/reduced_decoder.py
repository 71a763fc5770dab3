"""SAM's mask decoder for answering: the same numbers as `decode`, with the work left out.

Of the stock decoder's 3.6 GFLOP for a prompt at 1024 px, 2.7 project the image anew, and three of
four masks are thrown away. Here the projections are folded into the tokens, the first layer's part
that depends on the slice alone is remembered, only the tokens that matter look at the image last,
and only the chosen mask is made. Weights are the stock decoder's own, read at every call.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from segment_anything.modeling import MaskDecoder
from torch import Tensor

from cobot.sam.cpu_threads import side_by_side
from cobot.sam.slice_memory import SliceMemory, places_in_rows
from cobot.sam.two_way import Part, two_way


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Prompts on one slice for the decoder.

    Attributes:
        sparse: embedded prompt tokens.
        ambiguous: for each prompt, whether the best of three masks is wanted, not the single one.
        several: whether any prompt is ambiguous.
        changed: for each prompt the image embedding with its mask prompt's added, or None when no
            prompt has a mask: the slice's memory then serves.
    """

    sparse: Float[Tensor, "b t c"]
    ambiguous: Bool[Tensor, " b"]
    several: bool
    changed: Float[Tensor, "b c h w"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ChosenMasks:
    """The one answer to each prompt.

    Attributes:
        logits: the low-resolution mask; above 0 is object.
        predicted_iou: the decoder's own guess of its quality.
    """

    logits: Float[Tensor, "b h w"]
    predicted_iou: Float[Tensor, " b"]


def decode_chosen(decoder: MaskDecoder, memory: SliceMemory, asked: Question) -> ChosenMasks:
    """Predict one mask for every prompt: of three the one with the highest predicted IoU.

    Equal to the stock decoder's to 1e-5 of the largest logit, in fp32.

    Args:
        decoder: a stock mask decoder.
        memory: the slice, from the same weights.
        asked: prompts of equal token count.
    """
    candidates = decoder.num_mask_tokens if asked.several else 1
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    prompt = torch.cat([own.expand(len(asked.sparse), -1, -1), asked.sparse], dim=1)
    changed = None if asked.changed is None else places_in_rows(asked.changed)
    answered, image = two_way(decoder.transformer, prompt, memory, changed, 1 + candidates)
    iou = decoder.iou_prediction_head(answered[:, 0])
    pick = torch.where(asked.ambiguous, 1 + iou[:, 1:].argmax(dim=1), 0)
    rows = torch.arange(len(pick), device=pick.device)
    weights = [
        mlp(answered[:, 1 + index])
        for index, mlp in enumerate(decoder.output_hypernetworks_mlps[:candidates])
    ]
    return ChosenMasks(
        logits=_upscale(decoder, image, torch.stack(weights, dim=1)[rows, pick]),
        predicted_iou=iou[rows, pick],
    )


def _upscale(
    decoder: MaskDecoder, image: Sequence[Part], weights: Float[Tensor, "b m"]
) -> Float[Tensor, "b h w"]:
    """One mask for each prompt: the decoder's upscaling, then the product with the mask's weights.

    Its transposed convolutions of stride 2 and size 2 do not overlap: each is one matrix that
    makes four pixels of every place. Channels stay last until a single number for each pixel is
    left.

    Args:
        decoder: a stock mask decoder.
        image: places of a square grid.
        weights: what the hypernetwork makes of the chosen mask token.
    """
    first, norm, activate, second, activate_again = decoder.output_upscaling
    once, twice = _Quadruple.of(first), _Quadruple.of(second)

    def sixteen(part: Part) -> Float[Tensor, "b n 16"]:
        """Sixteen pixels for each place: two halvings, each down before across."""
        halved = once(part.image)
        normed = F.layer_norm(halved, halved.shape[-1:], norm.weight, norm.bias, norm.eps)
        pixels = activate_again(twice(activate(normed)))
        return torch.bmm(pixels, weights[:, :, None]).unflatten(1, (-1, 16)).squeeze(3)

    pixels = torch.cat(side_by_side(sixteen, image), dim=1)
    grid = round(pixels.shape[1] ** 0.5)
    blocks = pixels.reshape(-1, grid, grid, 2, 2, 2, 2)
    return blocks.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, 4 * grid, 4 * grid)


@dataclass(frozen=True, slots=True, eq=False)
class _Quadruple:
    """A transposed convolution of stride 2 and size 2 as a matrix: down, across, channel."""

    matrix: Float[Tensor, "four_out c"]
    bias: Float[Tensor, " four_out"] | None

    @classmethod
    def of(cls, layer: torch.nn.ConvTranspose2d) -> "_Quadruple":
        """From the layer's weights, for one call."""
        matrix = layer.weight.permute(2, 3, 1, 0).reshape(-1, layer.in_channels)
        return cls(matrix, None if layer.bias is None else layer.bias.repeat(4))

    def __call__(self, pixels: Float[Tensor, "b n c"]) -> Float[Tensor, "b four_n out"]:
        """Four pixels for each."""
        b, n, _ = pixels.shape
        return F.linear(pixels, self.matrix, self.bias).reshape(b, 4 * n, -1)
