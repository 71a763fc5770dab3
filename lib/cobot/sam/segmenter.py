"""A loaded SAM that embeds slices and answers prompts: values in, values out."""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Float32

from cobot.intensity import IntensityWindow
from cobot.planes import Slice
from cobot.prompts import Prompts
from cobot.sam.adapted_sam import AdaptedSam
from cobot.sam.answer import (
    AskedModel,
    SliceEmbedding,
    SliceMask,
    decode_masks,
    prompt_places,
)
from cobot.sam.body import body_region
from cobot.sam.cpu_threads import settle_thread
from cobot.sam.decoder_graph import DecoderGraphs
from cobot.sam.encoder_plan import Precision, choose_dtype
from cobot.sam.encoder_runner import EncoderRunner
from cobot.sam.frame import SamFrame
from cobot.sam.grey_patches import GreyPictures
from cobot.sam.learned_prompts import LearnedQuestion, answer_learned
from cobot.sam.prepared import prepare_encoder
from cobot.sam.reduced_decoder import ChosenMasks
from cobot.sam.slice_memory import SliceMemories
from cobot.sam.weights import LoadedSam


@dataclass(frozen=True, slots=True)
class SegmenterOptions:
    """How slices are shown to the encoder, and at which precision.

    Attributes:
        side_px: side of the encoder's input; None is the side that the adapter, or else the
            encoder, was trained at. A smaller one is faster and, without an adapter trained at it,
            worse.
        crop_to_body: show the part that is not black (see `cobot.sam.body`) and not the whole
            slice; None is as the encoder was trained: `tiny` yes, Meta's no.
        precision: of the encoder: fp32, bf16, or auto, which is bf16 on processors that multiply
            in it and fp32 on others (see `choose_dtype`). The decoder is always fp32.
        compiled: compile the encoder's blocks at the first slice, and on CUDA record them as
            graphs: half a minute once, for many slices on a GPU. On CPUs it brings nothing certain
            (decision 4).
        adapter_hash: of an adapter that the caller attached to the model, so that embeddings of
            different adapters are never taken for each other; empty without one.
    """

    side_px: int | None = None
    crop_to_body: bool | None = None
    precision: Precision = "auto"
    compiled: bool = False
    adapter_hash: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SliceView:
    """A slice as it will be shown to the encoder: known before anything is computed.

    Attributes:
        unit: the slice, windowed to 0..1.
        frame: where it lies in SAM's square.
        key: names everything its embedding depends on: weights, adapter, pixels, window, frame.
    """

    unit: Float32[np.ndarray, "row col"]
    frame: SamFrame
    key: str


@final
class SliceSegmenter:
    """SAM on one device, for many threads: calls take turns at the encoder and at the decoder.

    It takes the base over: moves it to the device and into evaluation mode. It never changes
    afterwards; another adapter is another segmenter (see `cobot.sam.adapted`).
    """

    def __init__(
        self,
        loaded: LoadedSam,
        device: torch.device | str = "cpu",
        options: SegmenterOptions = SegmenterOptions(),
        adapted: AdaptedSam | None = None,
    ) -> None:
        """Take a base over, and run it with an adapter if one is given; see `cobot.sam.adapted`.

        Raises:
            ConfigError: the side is not a multiple of the encoder's patch, or the precision is
                unknown.
        """
        self.device = torch.device(device)
        self.options = options
        self.base = loaded
        self.base_sha256 = loaded.sha256
        self.adapter_hash = adapted.adapter_sha256 if adapted else options.adapter_hash
        trained_px = (adapted and adapted.side_px) or loaded.shape.image_size_px
        self.side_px = options.side_px or trained_px
        wanted = options.crop_to_body
        self.crop_to_body = loaded.shape.crops_to_body if wanted is None else wanted
        self._sam = (adapted.sam if adapted else loaded.sam).to(self.device).eval()
        self._dtype = choose_dtype(options.precision, self.device)
        prepared = prepare_encoder(self._sam.image_encoder, self.side_px, self._dtype)
        self._encoder = EncoderRunner(prepared, options.compiled)
        graphs = DecoderGraphs(self._sam.mask_decoder) if self.device.type == "cuda" else None
        self._asked = AskedModel(
            self._sam, SliceMemories(self._sam), loaded.shape.draws_prompts, graphs
        )
        self._encoding, self._decoding = threading.Lock(), threading.Lock()

    @property
    def precision(self) -> Literal["fp32", "bf16"]:
        """Of the encoder, after "auto" was decided; part of every result's provenance."""
        return "bf16" if self._dtype == torch.bfloat16 else "fp32"

    @property
    def embedding_key(self) -> str:
        """What embeddings of different segmenters differ by: weights, adapter, side, precision."""
        precision = str(self._dtype).removeprefix("torch.")
        parts = (self.base_sha256, self.adapter_hash, str(self.side_px), precision)
        return "/".join(parts)

    def embed(
        self,
        slices: Sequence[Slice],
        window: IntensityWindow,
        prompts: Sequence[Sequence[Prompts]] | None = None,
    ) -> list[SliceEmbedding]:
        """Embed slices in one encoder batch; the caller chooses how many fit the memory.

        Args:
            slices: of one or several volumes, of any sizes.
            window: black to white.
            prompts: for each slice, what will be asked of it, if that is known. It matters only
                when slices are cropped to the body: the crop then holds these prompts too.
        """
        asked = prompts if prompts is not None else [()] * len(slices)
        return self.encode(
            [self.view(one, window, about) for one, about in zip(slices, asked, strict=True)]
        )

    def view(
        self, slice_: Slice, window: IntensityWindow, prompts: Sequence[Prompts] = ()
    ) -> SliceView:
        """How a slice will be shown; its key is known here, so that the work may be spared.

        Args:
            slice_: the slice.
            window: black to white.
            prompts: what will be asked of it; see `embed`.
        """
        unit = window.apply(slice_.pixels)
        frame = self._frame(slice_, unit, prompts)
        return SliceView(unit, frame, self._key(unit, frame))

    def encode(self, views: Sequence[SliceView]) -> list[SliceEmbedding]:
        """Embed views in one encoder batch; `embed` does both steps."""
        if not views:
            return []
        settle_thread()
        grey = torch.cat([view.frame.grey(view.unit, self.device) for view in views])
        pictures = GreyPictures(grey, [view.frame.content_px for view in views])
        with self._encoding, torch.inference_mode():
            features = self._encoder.embed(pictures)
        return [
            SliceEmbedding(features[index : index + 1], view.frame, view.key)
            for index, view in enumerate(views)
        ]

    def decode(self, embedding: SliceEmbedding, prompts: Sequence[Prompts]) -> list[SliceMask]:
        """Answer many prompts on one embedded slice; see `decode_masks`.

        Raises:
            PromptError: a prompt lies outside the part of the slice that was embedded. That can
                happen only off the slice or when it was cropped to the body without knowing the
                prompt: give prompts to `embed`, or use `segment`.
        """
        with self._decoding:
            return decode_masks(self._asked, embedding, prompts)

    def decode_learned(self, embedding: SliceEmbedding, asked: LearnedQuestion) -> ChosenMasks:
        """Answer learnt prompts on one embedded slice, in SAM's square; see `answer_learned`."""
        with self._decoding:
            return answer_learned(self._asked, embedding, asked)

    def segment(
        self, slice_: Slice, window: IntensityWindow, prompts: Sequence[Prompts]
    ) -> list[SliceMask]:
        """Embed one slice so that it holds all prompts, and answer them.

        Raises:
            PromptError: a prompt lies off the slice.
        """
        (embedding,) = self.embed([slice_], window, [prompts])
        return self.decode(embedding, prompts)

    def _frame(
        self, slice_: Slice, unit: Float32[np.ndarray, "row col"], prompts: Sequence[Prompts]
    ) -> SamFrame:
        region = None
        if self.crop_to_body:
            places = [prompt_places(given) for given in prompts]
            region = body_region(unit, np.concatenate([np.empty((0, 2)), *places]))
        rows, cols = unit.shape
        return SamFrame.fit((rows, cols), slice_.spacing_mm, self.side_px, region)

    def _key(self, unit: Float32[np.ndarray, "row col"], frame: SamFrame) -> str:
        digest = hashlib.sha256(f"{self.embedding_key}|{frame}".encode())
        digest.update(np.ascontiguousarray(unit).tobytes())
        return digest.hexdigest()
