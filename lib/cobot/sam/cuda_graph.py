"""Work recorded once as a CUDA graph, then started by one call instead of hundreds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float32
from torch import Tensor

from cobot.errors import ConfigError
from cobot.sam.grey_patches import GreyPictures
from cobot.sam.prepared import PreparedEncoder

WARM_UPS = 3
"""Runs before recording, so that libraries choose their kernels and take their memory."""

Result = TypeVar("Result")


def record(work: Callable[[], Result], device: torch.device) -> tuple[torch.cuda.CUDAGraph, Result]:
    """A recording of some work, and the result that every replay overwrites.

    Args:
        work: on that device alone, without waiting for it; reads the same tensors every time.
        device: a CUDA device.
    """
    aside = torch.cuda.Stream(device)
    aside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            work()
    torch.cuda.current_stream(device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # Other threads may use the card meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = work()
    return graph, result


@dataclass(frozen=True, slots=True, eq=False)
class RecordedEncoder:
    """An encoder for one batch size; launching it costs the CPU almost nothing.

    It holds its own memory for all intermediate results. Calls must not overlap.

    Attributes:
        encoder: what was recorded; record again when its `current` is another.
        graph: the recording.
        tokens: what it reads.
        embedding: what it writes.
    """

    encoder: PreparedEncoder
    graph: torch.cuda.CUDAGraph
    tokens: Float32[Tensor, "b h w d"]
    embedding: Float32[Tensor, "b c h w"]

    @torch.no_grad()
    def embed(self, pictures: GreyPictures) -> Float32[Tensor, "b c h w"]:
        """As `PreparedEncoder.embed`, for as many pictures as were recorded."""
        count = len(pictures.grey)
        if count != len(self.tokens):
            raise ConfigError(
                f"The recorded encoder takes {len(self.tokens)} pictures at once, got {count}; "
                "record one for that number."
            )
        self.tokens.copy_(self.encoder.patches.embed(pictures) + self.encoder.places)
        self.graph.replay()
        return self.embedding.clone()


@torch.no_grad()
def record_encoder(encoder: PreparedEncoder, batch: int) -> RecordedEncoder:
    """Record an encoder for a batch size.

    Args:
        encoder: prepared on a CUDA device, compiled or not.
        batch: pictures at once.

    Raises:
        ConfigError: the encoder is not on a CUDA device.
    """
    device = encoder.places.device
    if device.type != "cuda":
        raise ConfigError(
            f"CUDA graphs need the encoder on a CUDA device, it is on {device}; use it as it is."
        )
    tokens = encoder.places.repeat(batch, 1, 1, 1)
    graph, embedding = record(lambda: encoder.transform(tokens), device)
    return RecordedEncoder(encoder, graph, tokens, embedding)
