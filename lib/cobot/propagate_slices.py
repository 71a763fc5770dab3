"""The slices of a volume as something that answers prompts, whichever slice is asked."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from cobot.intensity import IntensityWindow
from cobot.planes import Plane
from cobot.prompts import Prompts
from cobot.sam.answer import SliceMask
from cobot.sam.embeddings import EmbeddingService, WantedSlice
from cobot.sam.frame import SamFrame
from cobot.sam.segmenter import SliceSegmenter
from cobot.shapes import Mask
from cobot.slicing import cut_slice
from cobot.volume import Volume

MASK_LOGIT = 6.0
"""What a mask of another slice is worth as a mask prompt: sure, and no surer than SAM's own."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is asked on a slice.

    Attributes:
        prompts: on its pixels, without mask logits.
        last_mask: the structure on the slice before, to be shown as a mask prompt, or None.
    """

    prompts: Prompts
    last_mask: Mask | None = None


@runtime_checkable
class AnsweringSlices(Protocol):
    """What a walk needs to know of a volume and a model."""

    @property
    def count(self) -> int:
        """How many slices there are."""
        ...

    @property
    def step_mm(self) -> float:
        """Distance of neighbouring slices."""
        ...

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Distance of pixel centres, down the rows and along the columns."""
        ...

    def picture(self, index: int) -> Float32[np.ndarray, "row col"]:
        """One slice, windowed to 0..1."""
        ...

    def answer(self, index: int, questions: Sequence[Question]) -> list[SliceMask]:
        """A mask for each question on one slice."""
        ...


@dataclass(slots=True)
class Spent:
    """What answering has cost so far.

    Attributes:
        slices_encoded: slices that nobody had embedded before.
        slices_answered: slices that were asked, each time they were.
        encode_s: seconds until embeddings were there.
        decode_s: seconds in the decoder.
    """

    slices_encoded: int = 0
    slices_answered: int = 0
    encode_s: float = 0.0
    decode_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class VolumeSlices:
    """Final. Slices of a volume, answered by a segmenter.

    Attributes:
        volume: the volume.
        plane: how it is cut, along any axis.
        window: black to white.
        segmenter: the model, with or without an adapter.
        embeddings: keeps what was embedded; a slice is asked more than once when walks meet or
            several structures are wanted.
        name: names the volume in the cache on disk, if it has one.
        spent: counts what these slices have cost; for one thread.
    """

    volume: Volume
    plane: Plane
    window: IntensityWindow
    segmenter: SliceSegmenter
    embeddings: EmbeddingService
    name: str = ""
    spent: Spent = field(default_factory=Spent)

    @property
    def count(self) -> int:
        """How many slices there are."""
        return self.volume.shape[self.plane.axis]

    @property
    def step_mm(self) -> float:
        """Distance of neighbouring slices."""
        return self.volume.spacing_mm[self.plane.axis]

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Distance of pixel centres, down the rows and along the columns."""
        spacing = self.volume.spacing_mm
        return spacing[self.plane.row_axis], spacing[self.plane.col_axis]

    def picture(self, index: int) -> Float32[np.ndarray, "row col"]:
        """One slice, windowed to 0..1."""
        return self.window.apply(cut_slice(self.volume, self.plane, index).pixels)

    def answer(self, index: int, questions: Sequence[Question]) -> list[SliceMask]:
        """A mask for each question on one slice.

        Raises:
            GeometryError: there is no such slice.
            PromptError: a prompt lies off the slice.
        """
        slice_ = cut_slice(self.volume, self.plane, index)
        prompts = [one.prompts for one in questions]
        started = time.perf_counter()
        view = self.segmenter.view(slice_, self.window, prompts)
        found = self.embeddings.get(self.segmenter, WantedSlice(view, self.name))
        encoded = time.perf_counter()
        self.spent.slices_encoded += not found.cached
        self.spent.slices_answered += 1
        self.spent.encode_s += encoded - started
        side = 4 * found.embedding.features.shape[-1]
        asked = [
            one.prompts
            if one.last_mask is None
            else replace(one.prompts, mask_logits=_mask_prompt(one.last_mask, view.frame, side))
            for one in questions
        ]
        answers = self.segmenter.decode(found.embedding, asked)
        self.spent.decode_s += time.perf_counter() - encoded
        return answers


def _mask_prompt(mask: Mask, frame: SamFrame, side: int) -> Float32[np.ndarray, "h w"]:
    """A mask as logits on the frame of another slice: sure inside and outside, 0 at its edge."""
    share = frame.mask_from_pixels(mask, side).numpy()
    return np.asarray((2 * share - 1) * MASK_LOGIT, np.float32)
