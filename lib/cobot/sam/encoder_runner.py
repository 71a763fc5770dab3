"""A prepared encoder at work: it follows its weights, and is compiled and recorded if wanted."""

import logging
from typing import final

import torch
from jaxtyping import Float32
from torch import Tensor

from cobot.sam.compiled import compile_blocks
from cobot.sam.cuda_graph import RecordedEncoder, record_encoder
from cobot.sam.grey_patches import GreyPictures
from cobot.sam.prepared import PreparedEncoder

RECORDINGS = 2
"""Batch sizes recorded at once, such as a full batch and a single slice: each holds its memory."""

logger = logging.getLogger(__name__)


@final
class EncoderRunner:
    """Embeds pictures with one encoder; for one caller at a time.

    When the weights have changed it goes on with the new ones.
    """

    def __init__(self, encoder: PreparedEncoder, compiled: bool = False) -> None:
        """Take over a prepared encoder.

        Args:
            encoder: prepared for the device and precision.
            compiled: compile its blocks at the first pictures (what that took is logged; torch
                keeps the result on disk), and on CUDA record each batch size as a graph.
        """
        self._encoder = encoder
        self._to_compile = compiled
        self._recording = compiled and encoder.places.is_cuda
        self._recorded: dict[int, RecordedEncoder] = {}

    def embed(self, pictures: GreyPictures) -> Float32[Tensor, "b c grid grid"]:
        """As `PreparedEncoder.embed`."""
        current = self._encoder.current()
        if current is not self._encoder:
            self._encoder = current
            self._recorded.clear()
        if self._to_compile:
            self._compile(len(pictures.grey))
        if not self._recording:
            return self._encoder.embed(pictures)
        return self._recorded_for(len(pictures.grey)).embed(pictures)

    def _compile(self, batch: int) -> None:
        made = compile_blocks(self._encoder, batch)
        self._encoder, self._to_compile = made.encoder, False
        took = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in made.seconds.items())
        logger.info("The encoder's blocks are compiled: %s.", took)

    def _recorded_for(self, batch: int) -> RecordedEncoder:
        """The recording of a batch size; the one made first gives way to a new one."""
        if batch not in self._recorded:
            if len(self._recorded) == RECORDINGS:
                self._recorded.pop(next(iter(self._recorded)))
                torch.cuda.empty_cache()
            self._recorded[batch] = record_encoder(self._encoder, batch)
        return self._recorded[batch]
