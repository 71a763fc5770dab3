"""An image encoder made ready to embed many grey slices at one side and precision."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float32
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import Block
from torch import Tensor

from cobot.sam.attention import RelativePositions, block_positions
from cobot.sam.encoder import apply_block, finish, position_table, require_whole_patches
from cobot.sam.encoder_plan import EncoderPlan, choose_plan
from cobot.sam.grey_patches import GreyPatchEmbedding, GreyPictures, fold_to_grey

BlockFunction = Callable[[Block, Tensor, EncoderPlan, RelativePositions], Tensor]
"""What computes a block: `apply_block`, or the same compiled."""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The tensors of an encoder as they were at one moment.

    They are kept alive, so that no later tensor can be mistaken for one of them.
    """

    tensors: Mapping[str, Tensor]
    versions: Mapping[str, int]

    def same(self, other: "Weights") -> bool:
        """Whether nothing was exchanged or written since."""
        return self.tensors.keys() == other.tensors.keys() and all(
            self.holds(tensor, name, other.versions[name]) for name, tensor in other.tensors.items()
        )

    def holds(self, tensor: Tensor, name: str, version: int) -> bool:
        """Whether this very tensor, unchanged, is the one of that name."""
        return self.tensors.get(name) is tensor and self.versions[name] == version


@dataclass(frozen=True, slots=True, eq=False)
class PreparedEncoder:
    """What `encode_image` gives, with all that depends on weights alone computed beforehand.

    For inference. The weights of blocks and neck are the source's own in fp32, a copy of them in
    bf16. After adapters were attached, switched, folded or trained, `current` gives the encoder
    for the new weights.

    Attributes:
        source: the encoder this was prepared from.
        working: what is computed with: the source, or its twin in the working dtype.
        plan: how its blocks are computed.
        side_px: of the pictures.
        patches: the patch embedding, for grey pictures; always in fp32.
        places: the absolute position of every token.
        positions: each block's relative positions.
        weights: of the source, when this was prepared.
        window_block: computes blocks that attend within windows.
        whole_block: computes the other blocks.
    """

    source: ImageEncoderViT
    working: ImageEncoderViT
    plan: EncoderPlan
    side_px: int
    patches: GreyPatchEmbedding
    places: Float32[Tensor, "1 grid grid d"]
    positions: tuple[RelativePositions, ...]
    weights: Weights
    window_block: BlockFunction = apply_block
    whole_block: BlockFunction = apply_block

    @property
    def dtype(self) -> torch.dtype:
        """Of the blocks' computation."""
        return self.positions[0].rows.dtype

    @torch.no_grad()
    def embed(self, pictures: GreyPictures) -> Float32[Tensor, "b c grid grid"]:
        """Embed pictures that lie on the encoder's device.

        Args:
            pictures: of the side this was prepared for.
        """
        return self.transform(self.patches.embed(pictures) + self.places)

    @torch.no_grad()
    def transform(self, tokens: Float32[Tensor, "b h w d"]) -> Float32[Tensor, "b c h w"]:
        """The embedding from embedded patches that know their place."""
        tokens = tokens.to(self.dtype)
        for block, positions in zip(self.working.blocks, self.positions, strict=True):
            function = self.window_block if block.window_size else self.whole_block
            tokens = function(block, tokens, self.plan, positions)
        return finish(self.working, tokens).float()

    def current(self) -> "PreparedEncoder":
        """This, or a new one if the source's weights are no longer those it was prepared from.

        Only what changed is cast anew. Looking takes some hundred microseconds.
        """
        if self.weights.same(_weights(self.source)):
            return self
        fresh = prepare_encoder(self.source, self.side_px, self.dtype, self)
        return replace(
            fresh, plan=self.plan, window_block=self.window_block, whole_block=self.whole_block
        )


@torch.no_grad()
def prepare_encoder(
    encoder: ImageEncoderViT,
    side_px: int,
    dtype: torch.dtype,
    before: PreparedEncoder | None = None,
) -> PreparedEncoder:
    """Prepare an encoder for inference on the device where it is.

    Args:
        encoder: a stock image encoder, with or without adapters, in evaluation mode.
        side_px: of the pictures; another one than the trained interpolates positions.
        dtype: of the blocks: float32, or bfloat16 from a copy of the weights.
        before: of the same encoder; casts of unchanged weights are taken over from it.

    Raises:
        ConfigError: the side is not a multiple of the patch.
    """
    patch_px = encoder.patch_embed.proj.kernel_size[0]
    require_whole_patches(side_px, patch_px)
    grid = side_px // patch_px
    weights = _weights(encoder)
    working = encoder if dtype == torch.float32 else _twin(encoder, dtype, weights, before)
    return PreparedEncoder(
        source=encoder,
        working=working,
        plan=choose_plan(encoder.pos_embed.device, dtype),
        side_px=side_px,
        patches=fold_to_grey(encoder.patch_embed),
        places=position_table(encoder.pos_embed, grid).clone(),
        positions=tuple(
            _cast_positions(block_positions(block, grid), dtype) for block in encoder.blocks
        ),
        weights=weights,
    )


def _weights(encoder: ImageEncoderViT) -> Weights:
    tensors = {**dict(encoder.named_parameters()), **dict(encoder.named_buffers())}
    versions = {
        # Tensors made in inference mode cannot be written outside it and count no versions.
        name: 0 if tensor.is_inference() else tensor._version
        for name, tensor in tensors.items()
    }
    return Weights(tensors, versions)


def _twin(
    encoder: ImageEncoderViT,
    dtype: torch.dtype,
    weights: Weights,
    before: PreparedEncoder | None,
) -> ImageEncoderViT:
    """The same modules, adapters included, with every floating-point tensor in another dtype."""
    earlier = {} if before is None else _weights(before.working).tensors
    replaced: dict[int, object] = {}
    for name, tensor in weights.tensors.items():
        unchanged = before is not None and before.weights.holds(
            tensor, name, weights.versions[name]
        )
        if unchanged and name in earlier:
            replaced[id(tensor)] = earlier[name]
        elif tensor.is_floating_point():
            cast = tensor.detach().to(dtype)
            if isinstance(tensor, torch.nn.Parameter):
                cast = torch.nn.Parameter(cast, requires_grad=False)
            replaced[id(tensor)] = cast
    # What deepcopy finds in its memo it takes instead of copying.
    return copy.deepcopy(encoder, replaced)


def _cast_positions(positions: RelativePositions, dtype: torch.dtype) -> RelativePositions:
    return RelativePositions(positions.rows.to(dtype), positions.cols.to(dtype))
