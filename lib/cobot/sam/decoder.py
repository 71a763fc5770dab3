"""From prompts and an image embedding to mask logits, many prompts at once, at any side.

Stock segment_anything fixes the input side in its prompt encoder and repeats one picture for all
prompts. Here the side is an argument and every prompt may have its own picture, as training needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Integer
from segment_anything.modeling import MaskDecoder, PromptEncoder
from torch import Tensor

NOT_A_POINT, NEGATIVE, POSITIVE, BOX_FIRST, BOX_LAST = -1, 0, 1, 2, 3
"""Kinds of prompt tokens, numbered as segment_anything numbers them."""


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """Prompts as SAM reads them: places in the frame and what they mean.

    Attributes:
        xy: frame pixels, x the column, y the row; pixel centres are whole numbers.
        kind: NOT_A_POINT, NEGATIVE, POSITIVE, BOX_FIRST (top left) or BOX_LAST (bottom right).
    """

    xy: Float[Tensor, "b n 2"]
    kind: Integer[Tensor, "b n"]


def embed_prompts(
    encoder: PromptEncoder, tokens: PromptTokens, side_px: int
) -> Float[Tensor, "b n c"]:
    """The sparse embedding of prompts, for a frame of the given side.

    Equal to the stock prompt encoder's at the trained side. Stock appends one "not a point" to
    points that come without a box; here the caller puts it into `tokens`. Always fp32: bf16 would
    round places to several pixels.
    """
    with torch.autocast(tokens.xy.device.type, enabled=False):
        placed = encoder.pe_layer.forward_with_coords(tokens.xy + 0.5, (side_px, side_px))
    kinds = torch.cat(
        [encoder.not_a_point_embed.weight, *(kind.weight for kind in encoder.point_embeddings)]
    )
    is_place = (tokens.kind != NOT_A_POINT).unsqueeze(-1)
    return torch.where(is_place, placed, 0.0) + kinds[tokens.kind + 1]


def embed_masks(
    encoder: PromptEncoder, logits: Sequence[Float[Tensor, "h w"] | None], grid: int
) -> Float[Tensor, "b c grid grid"]:
    """The dense embedding of mask prompts.

    Args:
        encoder: the stock prompt encoder.
        logits: for each prompt the logits of an earlier answer, 4 * grid a side, or None.
        grid: side of the image embedding, in tokens.
    """
    absent = encoder.no_mask_embed.weight.reshape(-1, 1, 1).expand(-1, grid, grid)
    given = [mask for mask in logits if mask is not None]
    if not given:
        return absent.expand(len(logits), -1, -1, -1)
    embedded = iter(encoder.mask_downscaling(torch.stack(given)[:, None]))
    return torch.stack([absent if mask is None else next(embedded) for mask in logits])


def grid_positions(encoder: PromptEncoder, grid: int) -> Float[Tensor, "1 c grid grid"]:
    """The positional encoding of every place of the image embedding, always fp32."""
    with torch.autocast(encoder.no_mask_embed.weight.device.type, enabled=False):
        return encoder.pe_layer((grid, grid)).unsqueeze(0)


@dataclass(frozen=True, slots=True)
class DecodedMasks:
    """What the decoder says to each prompt: token 0's mask, then the three of an ambiguous click.

    Attributes:
        logits: low-resolution masks; above 0 is object.
        predicted_iou: the decoder's own guess of each mask's quality.
    """

    logits: Float[Tensor, "b masks h w"]
    predicted_iou: Float[Tensor, "b masks"]


@dataclass(frozen=True, slots=True)
class DecoderInput:
    """One batch for the mask decoder.

    Attributes:
        features: image embeddings, one for all prompts or one for each.
        positions: the positional encoding of the embedding's places.
        sparse: embedded prompt tokens.
        dense: embedded mask prompts.
    """

    features: Float[Tensor, "pictures c grid grid"]
    positions: Float[Tensor, "1 c grid grid"]
    sparse: Float[Tensor, "b n c"]
    dense: Float[Tensor, "b c grid grid"]


def decode(decoder: MaskDecoder, given: DecoderInput) -> DecodedMasks:
    """Predict all of SAM's masks for every prompt; weights are the stock decoder's own.

    Equal to the stock `predict_masks` for one picture. Differentiable.
    """
    b, _, c = given.sparse.shape
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(b, -1, -1)
    image = given.features + given.dense
    answered, image_out = decoder.transformer(
        image, given.positions.expand_as(image), torch.cat([own, given.sparse], dim=1)
    )
    upscaled = decoder.output_upscaling(image_out.transpose(1, 2).reshape(image.shape))
    weights = torch.stack(
        [
            mlp(answered[:, 1 + index])
            for index, mlp in enumerate(decoder.output_hypernetworks_mlps)
        ],
        dim=1,
    )
    return DecodedMasks(
        logits=torch.einsum("bmc,bchw->bmhw", weights, upscaled),
        predicted_iou=decoder.iou_prediction_head(answered[:, 0]),
    )
