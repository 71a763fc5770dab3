"""Warm clicks, boxes and refinements against segment_anything's predictor, weights random.

Rows for scripts/bench_speed.py. From a prompt on a 512 x 512 slice, whose embedding is there, to
the mask on the slice's pixels and in the host's memory. Both sides get the very same places.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from bench_rounds import Row, Work, Wrong, compare, matmul_flops_per_s, never
from cobot.prompts import Prompts
from cobot.sam.answer import SliceEmbedding
from cobot.sam.build import build, encoder_shape
from cobot.sam.frame import SamFrame
from cobot.sam.segmenter import SliceSegmenter
from cobot.sam.weights import LoadedSam
from segment_anything import SamPredictor
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

SLICE_PX = 512

ROUNDING = 1e-6
"""Of the largest logit."""

TIMED_TOGETHER = 3
"""Clicks in one timed step: one is too short alone."""


@dataclass(frozen=True, slots=True)
class DecoderCase:
    """One kind of question to one decoder.

    Attributes:
        item: click, mask (a click that refines an earlier answer) or prompts16 (boxes).
        name: of the encoder whose decoder it is.
        device: "cpu" or "cuda".
        rounds: of timing.
    """

    item: str
    name: str
    device: str = "cpu"
    rounds: int = 9


@dataclass(frozen=True, slots=True)
class DecoderResult:
    """A comparison, and whether the masks were the same.

    Attributes:
        row: seconds, memory and error of low-resolution logits.
        pixels: of all low-resolution masks.
        differing: those of them that are object in one and background in the other, and whose logit
            is not 0 to rounding.
        reduced_limit_s: as `row.limit_s`, for what is left to compute in our form.
    """

    row: Row
    pixels: int
    differing: int
    reduced_limit_s: float


class Stage:
    """Both decoders, on one embedding."""

    def __init__(self, name: str, device: str) -> None:
        """Fill a model with random numbers and give it a random embedding."""
        torch.manual_seed(0)
        sam = build(name).requires_grad_(False)
        for weight_name, weight in sam.named_parameters():
            if weight_name.endswith("bias"):
                torch.nn.init.normal_(weight, std=0.1)
        # Prompts drawn as a mask are our own addition; segment_anything has nothing like it.
        shape = replace(encoder_shape(name), draws_prompts=False)
        self.segmenter = SliceSegmenter(LoadedSam(sam, shape, "0" * 64), device)
        self.frame = SamFrame.fit((SLICE_PX, SLICE_PX), (1.0, 1.0), shape.image_size_px)
        features = torch.randn(1, shape.prompt_dim, shape.grid, shape.grid).to(device)
        self.embedding = SliceEmbedding(features, self.frame, "")
        self.predictor = SamPredictor(sam)
        self.predictor.features = features
        self.predictor.original_size = (SLICE_PX, SLICE_PX)
        self.predictor.input_size = (shape.image_size_px, shape.image_size_px)
        self.predictor.is_image_set = True

    def works(self, item: str) -> tuple[Work, Work]:
        """Stock's and ours; both give the logits of the chosen masks."""
        return {"click": self._click, "mask": self._refinement, "prompts16": self._boxes}[item]()

    def _click(self) -> tuple[Work, Work]:
        asked = Prompts(points_xy=np.array([[200.0, 260.0]]), positive=np.array([True]))
        there, positive = self._there(asked.points_xy), np.array([1])

        def stock() -> Tensor:
            _, iou, low_res = self.predictor.predict(there, positive, multimask_output=True)
            return torch.from_numpy(low_res[iou.argmax()])

        return stock, self._ours([asked])

    def _refinement(self) -> tuple[Work, Work]:
        side = 4 * self.embedding.features.shape[-1]
        earlier = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32)
        xy = np.array([[200.0, 260.0], [300.0, 90.0]])
        asked = Prompts(points_xy=xy, positive=np.array([True, False]), mask_logits=earlier)
        there, kinds = self._there(xy), np.array([1, 0])

        def stock() -> Tensor:
            _, _, low_res = self.predictor.predict(
                there, kinds, mask_input=earlier[None], multimask_output=False
            )
            return torch.from_numpy(low_res[0])

        return stock, self._ours([asked])

    def _boxes(self) -> tuple[Work, Work]:
        corners = np.random.default_rng(0).uniform(10, 240, (16, 2))
        boxes = np.concatenate([corners, corners + 200], axis=1)
        framed = torch.tensor(np.stack([self.frame.box(box) for box in boxes])).float()
        there = framed.to(self.segmenter.device)

        def stock() -> Tensor:
            masks, _, low_res = self.predictor.predict_torch(
                None, None, boxes=there, multimask_output=False
            )
            masks.cpu()
            return low_res[:, 0].cpu()

        return stock, self._ours([Prompts(box_xyxy=box) for box in boxes])

    def _there(self, xy: np.ndarray) -> np.ndarray:
        """Coordinates that the predictor, which scales from corners, puts where we put them."""
        return self.frame.points(xy) / self.frame.scale_xy

    def _ours(self, asked: Sequence[Prompts]) -> Work:
        def work() -> Tensor:
            answers = self.segmenter.decode(self.embedding, asked)
            return torch.from_numpy(np.stack([answer.low_res_logits for answer in answers]))

        return work


def decoder_result(case: DecoderCase, wrong: Wrong = never) -> DecoderResult:
    """Hold the answers to one kind of question against each other, and time what is equal."""
    stock, ours = Stage(case.name, case.device).works(case.item)
    title = f"{case.item}, {case.name}, {case.device}"
    # Counted first: what is recorded later is started as a whole, and nobody sees its products.
    reduced = flops(ours)
    expected, given = stock().flatten(), ours().flatten()
    surely = expected.abs() > ROUNDING * expected.abs().max()
    differing = int((surely & ((expected > 0) != (given > 0))).sum())
    times = 1 if case.item == "prompts16" else TIMED_TOGETHER
    row = compare(
        title,
        (repeated(stock, times), repeated(ours, times)),
        case.rounds,
        case.device,
        lambda *found: differing > 0 or wrong(*found),
    )
    rate = matmul_flops_per_s(torch.float32, case.device)
    return DecoderResult(
        row=replace(
            row,
            stock_s=row.stock_s / times,
            ours_s=row.ours_s / times,
            limit_s=flops(stock) / rate,
        ),
        pixels=expected.numel(),
        differing=differing,
        reduced_limit_s=reduced / rate,
    )


def repeated(work: Work, times: int) -> Work:
    """The same, several times over."""

    def all_of_it() -> Tensor:
        for _ in range(times - 1):
            work()
        return work()

    return all_of_it


def flops(work: Callable[[], Tensor]) -> int:
    """Twice the multiplications of matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()
