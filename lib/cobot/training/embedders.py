"""Embeddings for a training step: as much of the encoder as learns is computed, the rest is kept.

What is kept is found by the picture's content, and is rounded whether it was kept or not, so that
training gives the same result whatever a limit of memory let go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor

from cobot.sam.embeddings import EmbeddingService, WantedSlice
from cobot.sam.encoder import encode_image
from cobot.sam.encoder_plan import EncoderPlan, choose_plan
from cobot.sam.prefix import PrefixCache, encode_prefix, encode_suffix
from cobot.sam.segmenter import SliceSegmenter
from cobot.training.items import TrainingItem


@runtime_checkable
class Embedder(Protocol):
    """Gives a step its embeddings."""

    def of(self, items: Sequence[TrainingItem]) -> Float[Tensor, "b c h w"]:
        """One embedding for each item, on the model's device."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FrozenEmbeddings:
    """Of an encoder that does not learn: computed once, rounded to bfloat16.

    Attributes:
        service: keeps them, in memory and on disk, under its limits.
        encoder: the base.
    """

    service: EmbeddingService
    encoder: SliceSegmenter

    def of(self, items: Sequence[TrainingItem]) -> Float[Tensor, "b c h w"]:
        """One embedding for each item, without gradients."""
        # One at a time: an embedding's last digits depend on its batch.
        found = [self.service.get(self.encoder, WantedSlice(item.view)) for item in items]
        features = torch.cat([one.embedding.features for one in found])
        return features.bfloat16().float().clone()


@dataclass(frozen=True, slots=True, eq=False)
class WholeEncoder:
    """Of an encoder that learns from its first block on.

    Attributes:
        encoder: with the adapter attached.
        checkpointing: see `EncoderPlan`.
    """

    encoder: ImageEncoderViT
    checkpointing: bool = False

    def of(self, items: Sequence[TrainingItem]) -> Float[Tensor, "b c h w"]:
        """One embedding for each item, with gradients."""
        device = self.encoder.pos_embed.device
        pixels = torch.cat([_picture(item, device) for item in items])
        return encode_image(self.encoder, pixels, _training_plan(pixels, self.checkpointing))


@dataclass(frozen=True, slots=True, eq=False)
class LateBlocks:
    """Of an encoder that learns from a later block on: what comes before is kept for each picture.

    A sample shows the same picture in every epoch, so all epochs but the first find its tokens.

    Attributes:
        encoder: with the adapter attached.
        first_block: nothing before it learns.
        kept: tokens of pictures by `SliceView.key`; of this encoder alone.
        checkpointing: see `EncoderPlan`.
    """

    encoder: ImageEncoderViT
    first_block: int
    kept: PrefixCache
    checkpointing: bool = False

    def of(self, items: Sequence[TrainingItem]) -> Float[Tensor, "b c h w"]:
        """One embedding for each item, with gradients from the first block that learns on."""
        tokens = torch.cat([self._tokens(item) for item in items]).to(self.encoder.pos_embed)
        plan = _training_plan(tokens, self.checkpointing)
        return encode_suffix(self.encoder, tokens, self.first_block, plan)

    def _tokens(self, item: TrainingItem) -> Float[Tensor, "1 h w d"]:
        # One at a time: the last digits of a token depend on its batch.
        def compute() -> Float[Tensor, "1 h w d"]:
            pixels = _picture(item, self.encoder.pos_embed.device)
            return encode_prefix(self.encoder, pixels, self.first_block)

        return self.kept.tokens(item.view.key, compute)


def _picture(item: TrainingItem, device: torch.device) -> Float[Tensor, "1 3 side side"]:
    return item.view.frame.image(item.view.unit).to(device)


def _training_plan(like: Tensor, checkpointing: bool) -> EncoderPlan:
    """How blocks are computed where a tensor lies, under the caller's autocast."""
    kind = like.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype
    return choose_plan(like.device, dtype, training=True, checkpointing=checkpointing)
