"""Build SAM's three parts, on the segment-anything package, in four sizes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import nn

from cobot.errors import ConfigError


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """The numbers that make one SAM.

    Attributes:
        name: how users call it.
        embed_dim: width of the encoder's tokens.
        depth: number of transformer blocks.
        num_heads: attention heads of a block.
        global_attn_indexes: blocks that attend to the whole image; the others to windows.
        image_size_px: side of the square input.
        patch_size_px: side of one token.
        window_size: side of an attention window, in tokens.
        prompt_dim: width of prompts, decoder and image embedding.
        decoder_mlp_dim: hidden width of the decoder's MLPs.
        crops_to_body: it was trained on pictures cropped to the body.
        draws_prompts: it was trained with prompts drawn as a mask prompt too.
    """

    name: str
    embed_dim: int
    depth: int
    num_heads: int
    global_attn_indexes: tuple[int, ...]
    image_size_px: int = 1024
    patch_size_px: int = 16
    window_size: int = 14
    prompt_dim: int = 256
    decoder_mlp_dim: int = 2048
    crops_to_body: bool = False
    draws_prompts: bool = False

    @property
    def grid(self) -> int:
        """Side of the image embedding, in tokens."""
        return self.image_size_px // self.patch_size_px


ENCODERS: Mapping[str, EncoderShape] = {
    shape.name: shape
    for shape in (
        EncoderShape("vit_b", 768, 12, 12, (2, 5, 8, 11)),
        EncoderShape("vit_l", 1024, 24, 16, (5, 11, 17, 23)),
        EncoderShape("vit_h", 1280, 32, 16, (7, 15, 23, 31)),
        EncoderShape(
            "tiny",
            embed_dim=192,
            depth=8,
            num_heads=4,
            global_attn_indexes=(2, 5, 7),
            image_size_px=256,
            patch_size_px=8,
            window_size=8,
            prompt_dim=128,
            decoder_mlp_dim=512,
            crops_to_body=True,
            draws_prompts=True,
        ),
    )
}
"""vit_b, vit_l and vit_h are Meta's; tiny is ours: the same architecture, not Meta's SAM."""


def encoder_shape(name: str) -> EncoderShape:
    """The shape with that name.

    Raises:
        ConfigError: no encoder has that name.
    """
    if name not in ENCODERS:
        raise ConfigError(f"Unknown encoder {name!r}; expected one of {', '.join(ENCODERS)}.")
    return ENCODERS[name]


def build(name: str) -> Sam:
    """A SAM of the named size with fresh (random) weights, on the CPU, in evaluation mode.

    `cobot.sam.weights` fills it.

    Raises:
        ConfigError: no encoder has that name.
    """
    return build_sam(encoder_shape(name))


def build_sam(shape: EncoderShape) -> Sam:
    """A SAM of any shape with fresh (random) weights, on the CPU, in evaluation mode."""
    sam = Sam(
        image_encoder=build_image_encoder(shape),
        prompt_encoder=_build_prompt_encoder(shape),
        mask_decoder=_build_mask_decoder(shape),
    )
    return sam.eval()


def build_image_encoder(shape: EncoderShape) -> ImageEncoderViT:
    """The vision transformer alone."""
    return ImageEncoderViT(
        img_size=shape.image_size_px,
        patch_size=shape.patch_size_px,
        embed_dim=shape.embed_dim,
        depth=shape.depth,
        num_heads=shape.num_heads,
        out_chans=shape.prompt_dim,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=shape.window_size,
        global_attn_indexes=shape.global_attn_indexes,
    )


def _build_prompt_encoder(shape: EncoderShape) -> PromptEncoder:
    return PromptEncoder(
        embed_dim=shape.prompt_dim,
        image_embedding_size=(shape.grid, shape.grid),
        input_image_size=(shape.image_size_px, shape.image_size_px),
        mask_in_chans=16,
    )


def _build_mask_decoder(shape: EncoderShape) -> MaskDecoder:
    transformer = TwoWayTransformer(
        depth=2, embedding_dim=shape.prompt_dim, mlp_dim=shape.decoder_mlp_dim, num_heads=8
    )
    return MaskDecoder(
        transformer_dim=shape.prompt_dim,
        transformer=transformer,
        num_multimask_outputs=3,
        iou_head_depth=3,
        iou_head_hidden_dim=shape.prompt_dim,
    )
