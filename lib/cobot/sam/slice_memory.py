"""What the decoder's first layer makes of a slice alone, computed once and kept for its prompts.

Without a mask prompt the first layer sees the same image whatever is asked: its keys, values and
queries are those of the slice. A mask prompt changes the image, so these cannot serve it.
"""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from segment_anything.modeling import Sam
from torch import Tensor

from cobot.sam.decoder import grid_positions

KEPT_BYTES = 128 * 2**20
"""A dozen slices of vit_b at 1024 px; another one costs a few milliseconds again."""


@dataclass(frozen=True, slots=True, eq=False)
class SliceMemory:
    """One slice as the first decoder layer sees it, places in rows of the grid.

    Attributes:
        image: the image embedding plus the embedding of "no mask".
        positions: the positional encoding of every place.
        key: of the tokens' first look at the image, without bias.
        value: of the same.
        query: of the image's first look at the tokens.
    """

    image: Float[Tensor, "1 n c"]
    positions: Float[Tensor, "1 n c"]
    key: Float[Tensor, "heads d n"]
    value: Float[Tensor, "heads d n"]
    query: Float[Tensor, "heads d n"]

    @property
    def nbytes(self) -> int:
        """Bytes held by this slice alone; positions are shared by all slices."""
        return sum(part.nbytes for part in (self.image, self.key, self.value, self.query))


def remember(
    sam: Sam, features: Float[Tensor, "1 c h w"], positions: Float[Tensor, "1 n c"]
) -> SliceMemory:
    """Compute the memory of one slice: three projections of its places.

    Args:
        sam: the model, on one device.
        features: the slice's image embedding, on that device.
        positions: of its places, from `places_in_rows`.
    """
    image = places_in_rows(features + sam.prompt_encoder.no_mask_embed.weight[:, :, None, None])
    layer = sam.mask_decoder.transformer.layers[0]
    look, answer = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
    placed = (image + positions)[0].T
    return SliceMemory(
        image=image,
        positions=positions,
        key=(look.k_proj.weight @ placed).unflatten(0, (look.num_heads, -1)),
        value=_project(look.v_proj, image[0].T).unflatten(0, (look.num_heads, -1)),
        query=_project(answer.q_proj, placed).unflatten(0, (answer.num_heads, -1)),
    )


def places_in_rows(grid: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n c"]:
    """One row for each place of the grid, contiguous."""
    return grid.flatten(2).transpose(1, 2).contiguous()


def _project(layer: torch.nn.Linear, columns: Float[Tensor, "c n"]) -> Float[Tensor, "inner n"]:
    return torch.addmm(layer.bias[:, None], layer.weight, columns)


@final
class SliceMemories:
    """The memories of the slices last asked about, up to a limit of bytes.

    Belongs to one model and whoever holds the turn at it. A memory is found again by its
    embedding's own tensor and goes with it; all go when the weights they came from have changed.
    """

    def __init__(self, sam: Sam, limit_bytes: int = KEPT_BYTES) -> None:
        self._sam = sam
        self._limit_bytes = limit_bytes
        self._kept: list[tuple[weakref.ref[Tensor], SliceMemory]] = []
        self._positions: dict[int, Tensor] = {}
        self._weights = tuple(self._weight_stamps())

    def __len__(self) -> int:
        """How many slices are remembered."""
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(memory.nbytes for _, memory in self._kept)

    def of(self, features: Float[Tensor, "1 c h w"]) -> SliceMemory:
        """The memory of an embedding, computed at its first use; the last used slice stays.

        Args:
            features: the tensor of a `SliceEmbedding`, on any device.
        """
        self._drop_outdated()
        for place, (known, memory) in enumerate(self._kept):
            if known() is features:
                self._kept.insert(0, self._kept.pop(place))
                return memory
        memory = remember(
            self._sam,
            features.to(self._sam.prompt_encoder.no_mask_embed.weight),
            self.positions(features.shape[-1]),
        )
        self._kept.insert(0, (weakref.ref(features), memory))
        while len(self._kept) > 1 and self.nbytes > self._limit_bytes:
            self._kept.pop()
        return memory

    def positions(self, grid: int) -> Float[Tensor, "1 n c"]:
        """The positional encoding of every place of a grid of that side."""
        self._drop_outdated()
        if grid not in self._positions:
            self._positions[grid] = places_in_rows(grid_positions(self._sam.prompt_encoder, grid))
        return self._positions[grid]

    def _drop_outdated(self) -> None:
        """Forget slices that are gone, and everything if the model moved or learned since."""
        self._kept = [entry for entry in self._kept if entry[0]() is not None]
        now = tuple(self._weight_stamps())
        if now != self._weights:
            self._weights = now
            self._kept.clear()
            self._positions.clear()

    def _weight_stamps(self) -> Iterator[tuple[int, int]]:
        """Where each weight lies and how often it was written to."""
        encoder, layer = self._sam.prompt_encoder, self._sam.mask_decoder.transformer.layers[0]
        look, answer = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
        yield _stamp(encoder.no_mask_embed.weight)
        yield _stamp(encoder.pe_layer.positional_encoding_gaussian_matrix)
        for projection in (look.k_proj, look.v_proj, answer.q_proj):
            yield _stamp(projection.weight)
            yield _stamp(projection.bias)


def _stamp(weight: Tensor) -> tuple[int, int]:
    return weight.data_ptr(), 0 if weight.is_inference() else weight._version
