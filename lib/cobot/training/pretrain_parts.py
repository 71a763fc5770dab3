"""What helps a small network learn from few pictures: a second task, and the right optimiser."""

import torch
from jaxtyping import Float
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional as F

from cobot.training.muon import Muon

CELLS = 4
"""Of SAM's low-resolution masks, along a token's side."""


class DetailHead(nn.Module):
    """Reads the picture back from its embedding, cell by cell of SAM's low-resolution masks.

    SAM's encoder comes from a masked autoencoder and knows pictures before it meets a mask. From
    masks alone a small one learns a handful of directions: of 128 channels three held 87 % of the
    variance, and masks hardly followed an edge. This linear head makes it keep what the picture
    shows. It is dropped after training.
    """

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.cells = nn.Linear(sam.prompt_encoder.embed_dim, CELLS**2)

    def loss(
        self, embeddings: Float[Tensor, "b c h w"], pixels: Float[Tensor, "b 3 side side"]
    ) -> Float[Tensor, ""]:
        """The part of the greys' variance that the embedding does not tell: 0 to about 1."""
        grid = embeddings.shape[-1]
        greys = F.adaptive_avg_pool2d(pixels[:, :1].float(), CELLS * grid)
        wanted = F.unfold(greys, CELLS, stride=CELLS).transpose(1, 2)
        told = self.cells(embeddings.flatten(2).transpose(1, 2)).float()
        return F.mse_loss(told, wanted) / wanted.var().clamp(min=1e-3)


def build_optimisers(
    sam: Sam, detail: DetailHead, weight_decay: float
) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon for the matrices of the transformers, AdamW for everything else.

    Muon (Jordan et al. 2024) makes each update of a matrix orthogonal, so that weak directions
    learn too; its rates are scaled to AdamW's.
    """
    parts = (sam.image_encoder.blocks, sam.mask_decoder.transformer)
    layers = [layer for part in parts for layer in part.modules() if isinstance(layer, nn.Linear)]
    matrices = [layer.weight for layer in layers]
    taken = {id(matrix) for matrix in matrices}
    rest = [one for one in (*sam.parameters(), *detail.parameters()) if id(one) not in taken]
    return (
        Muon(matrices, weight_decay=weight_decay),
        torch.optim.AdamW(rest, weight_decay=weight_decay),
    )
