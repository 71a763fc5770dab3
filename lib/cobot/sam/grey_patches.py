"""Patch embedding of grey pictures: one channel in place of three equal ones, exactly.

SAM wants three colours, a slice has one. On the picture, the three normalised channels are
`(255 g - mean) / std` of the same grey g, so the embedding is one kernel for g and a constant.
Beside the picture SAM sees zeros *after* normalisation, which no grey value gives; there the
constant is left out. A patch that the picture's edge cuts gets the constant's part inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float32
from segment_anything.modeling.image_encoder import PatchEmbed
from torch import Tensor

from cobot.sam.frame import SAM_MEAN, SAM_STD


@dataclass(frozen=True, slots=True, eq=False)
class GreyPictures:
    """Pictures as they lie in SAM's square, from its top left, before normalisation.

    Attributes:
        grey: 0 to 1, and 0 beside the pictures.
        content_px: for each picture, the rows and columns that it fills.
    """

    grey: Float32[Tensor, "b 1 side side"]
    content_px: Sequence[tuple[int, int]]

    def to(self, device: torch.device) -> "GreyPictures":
        """The same on another device."""
        return GreyPictures(self.grey.to(device), self.content_px)


@dataclass(frozen=True, slots=True, eq=False)
class GreyPatchEmbedding:
    """A patch embedding folded for grey pictures.

    Attributes:
        kernel: of one patch's grey pixels, row by row.
        bias: of the stock embedding.
        shift: what the subtracted means add, summed over the first r rows and c columns of a
            patch, for r and c from 0 to the patch's side.
    """

    kernel: Float32[Tensor, "d pixels"]
    bias: Float32[Tensor, " d"]
    shift: Float32[Tensor, "sums sums d"]

    def embed(self, pictures: GreyPictures) -> Float32[Tensor, "b h w d"]:
        """What the stock embedding makes of the three equal, normalised channels."""
        patch = len(self.shift) - 1
        b, _, side, _ = pictures.grey.shape
        grid = side // patch
        patches = pictures.grey.reshape(b, grid, patch, grid, patch).transpose(2, 3)
        tokens = F.linear(patches.reshape(b, grid, grid, patch**2), self.kernel, self.bias)
        starts = torch.arange(grid, device=tokens.device) * patch
        filled = torch.tensor(list(pictures.content_px), device=tokens.device)
        inside = (filled[:, :, None] - starts).clamp(0, patch)
        return tokens + self.shift[inside[:, 0, :, None], inside[:, 1, None, :]]


@torch.no_grad()
def fold_to_grey(embedding: PatchEmbed) -> GreyPatchEmbedding:
    """Fold SAM's normalisation and the sum over channels into a patch embedding's weights.

    The sums are taken in double precision. The result does not follow later changes of weights.
    """
    weight = embedding.proj.weight.double()
    d, _, patch, _ = weight.shape
    mean, std = (weight.new_tensor(values).reshape(1, 3, 1, 1) for values in (SAM_MEAN, SAM_STD))
    shift = -(weight * mean / std).sum(dim=1)
    summed = F.pad(shift.cumsum(dim=1).cumsum(dim=2), (1, 0, 1, 0))
    return GreyPatchEmbedding(
        kernel=(weight * 255 / std).sum(dim=1).reshape(d, patch**2).float(),
        bias=embedding.proj.bias.float(),
        shift=summed.permute(1, 2, 0).contiguous().float(),
    )
