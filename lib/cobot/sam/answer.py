"""Many prompts on one embedded slice to masks on its pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from segment_anything.modeling import Sam
from torch import Tensor

from cobot.errors import PromptError
from cobot.prompts import Prompts
from cobot.sam.cpu_threads import one_thread_each, side_by_side
from cobot.sam.decoder import (
    BOX_FIRST,
    BOX_LAST,
    NEGATIVE,
    NOT_A_POINT,
    POSITIVE,
    PromptTokens,
    embed_masks,
    embed_prompts,
)
from cobot.sam.decoder_graph import BUCKETS, DecoderGraphs
from cobot.sam.frame import SamFrame
from cobot.sam.prompt_map import carried_over, draw_prompts, has_box
from cobot.sam.reduced_decoder import ChosenMasks, Question, decode_chosen
from cobot.sam.slice_memory import SliceMemories, SliceMemory
from cobot.shapes import Mask, PointsXy

IMAGE_NUMBERS_AT_ONCE = 2**21
"""Of all prompts' image embeddings, on a CPU: two prompts to vit_b at 1024 px, 28 to tiny. More are
slower, for what is in hand no longer fits the cache; fewer are many small steps."""

PROMPTS_AT_ONCE_CUDA = max(BUCKETS)
"""On a GPU, where few and large steps are fast, as many as are recorded."""


@dataclass(frozen=True, slots=True)
class SliceEmbedding:
    """One slice as the encoder sees it: a value that may be kept and used again.

    Attributes:
        features: the image embedding.
        frame: where the slice lies in SAM's square.
        key: names everything the features depend on: weights, adapter, pixels, window, frame.
    """

    features: Float[Tensor, "1 c h w"]
    frame: SamFrame
    key: str


@dataclass(frozen=True, slots=True)
class SliceMask:
    """The answer to one prompt.

    Attributes:
        mask: on the slice's pixels; False outside the frame's region.
        logits: what the mask is cut from, at 0.
        low_res_logits: on SAM's square; give it back as `Prompts.mask_logits` to refine.
        predicted_iou: the decoder's own guess of the mask's quality, near 0 to 1.
    """

    mask: Mask
    logits: Float32[np.ndarray, "row col"]
    low_res_logits: Float32[np.ndarray, "h w"]
    predicted_iou: float


@dataclass(frozen=True, slots=True, eq=False)
class AskedModel:
    """The part of a SAM that answers prompts.

    Attributes:
        sam: the model; its weights' device is used.
        memories: of the same model; slices that are asked about are added to them.
        draws_prompts: it was trained with prompts drawn as a mask prompt, and to correct what it
            is shown (`cobot.sam.prompt_map`).
        graphs: recordings of its decoder, on CUDA.
    """

    sam: Sam
    memories: SliceMemories
    draws_prompts: bool = False
    graphs: DecoderGraphs | None = None

    def decode(self, memory: SliceMemory, asked: Question) -> ChosenMasks:
        """As `decode_chosen`, by a recording where there is one."""
        if self.graphs is None:
            return decode_chosen(self.sam.mask_decoder, memory, asked)
        return self.graphs.decode(memory, asked)


def decode_masks(
    model: AskedModel, embedding: SliceEmbedding, prompts: Sequence[Prompts]
) -> list[SliceMask]:
    """Answer every prompt on one slice, in their order.

    A lone click may mean a part or the whole: of SAM's three masks for it the one with the highest
    predicted IoU is taken; anything else gets SAM's single mask (segment_anything, section "Making
    the model ambiguity-aware"). Only that mask is made. Prompts of equal token count share a
    decoder call, so an answer does not depend on what else is asked.

    Args:
        model: what is asked.
        embedding: the slice, from the same model.
        prompts: one for each object.

    Raises:
        PromptError: a point or corner lies outside the frame's region, or mask logits have
            another size than the embedding asks for.
    """
    for given in prompts:
        _require_usable(given, embedding)
    device = model.sam.prompt_encoder.no_mask_embed.weight.device
    with one_thread_each(device) as lanes, torch.inference_mode():
        at_once = PROMPTS_AT_ONCE_CUDA
        if device.type != "cuda":
            at_once = _at_once(embedding.features.numel(), len(prompts), lanes)
        groups = _groups(prompts, at_once)
        slice_ = PreparedSlice(model, embedding, model.memories.of(embedding.features))
        work = [[prompts[index] for index in indices] for indices in groups]
        answered = side_by_side(slice_.answer, work)
    answers = {
        index: answer
        for indices, some in zip(groups, answered, strict=True)
        for index, answer in zip(indices, some, strict=True)
    }
    return [answers[index] for index in range(len(prompts))]


def prompt_places(prompts: Prompts) -> PointsXy:
    """The points and the box's corners, on the slice."""
    if prompts.box_xyxy is None:
        return prompts.points_xy
    return np.concatenate([prompts.points_xy, prompts.box_xyxy.reshape(2, 2)])


def prompt_tokens(prompts: Prompts, frame: SamFrame) -> PromptTokens:
    """Prompts in SAM's tokens and order: points, then the box, or "not a point" without one."""
    kinds = [POSITIVE if positive else NEGATIVE for positive in prompts.positive]
    if prompts.box_xyxy is None:
        kinds.append(NOT_A_POINT)
        rest = np.zeros((1, 2))
    else:
        kinds += [BOX_FIRST, BOX_LAST]
        rest = frame.box(prompts.box_xyxy).reshape(2, 2)
    xy = np.concatenate([frame.points(prompts.points_xy), rest])
    return PromptTokens(
        xy=torch.from_numpy(xy.astype(np.float32))[None], kind=torch.tensor(kinds)[None]
    )


def _token_count(prompts: Prompts) -> int:
    return len(prompts.points_xy) + (1 if prompts.box_xyxy is None else 2)


def _at_once(numbers: int, prompts: int, lanes: int) -> int:
    """How many prompts go into one step on a CPU: enough for every lane, and not too many.

    >>> [_at_once(2**20, 16, 2), _at_once(128 * 24**2, 16, 2), _at_once(128 * 24**2, 99, 2)]
    [2, 8, 28]
    """
    return max(1, min(IMAGE_NUMBERS_AT_ONCE // numbers, -(-prompts // lanes)))


def _groups(prompts: Sequence[Prompts], at_once: int) -> list[list[int]]:
    """Indices of prompts that may share a decoder call; mask prompts go apart from the others."""
    kinds: dict[tuple[int, bool], list[int]] = {}
    for index, given in enumerate(prompts):
        kind = (_token_count(given), given.mask_logits is not None)
        kinds.setdefault(kind, []).append(index)
    return [
        same[start : start + at_once]
        for same in kinds.values()
        for start in range(0, len(same), at_once)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class PreparedSlice:
    """One slice, ready for questions.

    Attributes:
        model: what is asked.
        embedding: the slice.
        memory: what its decoder remembers of the slice.
    """

    model: AskedModel
    embedding: SliceEmbedding
    memory: SliceMemory

    @torch.inference_mode()
    def answer(self, prompts: Sequence[Prompts]) -> list[SliceMask]:
        """Answer prompts of one token count, all with a mask or all without, in one batch."""
        question, carried = self._question(prompts)
        chosen = self.model.decode(self.memory, question)
        logits = chosen.logits if carried is None else chosen.logits + carried
        on_slice = self.embedding.frame.mask_to_pixels(logits)
        masks, pixels = ((on_slice > 0).cpu().numpy(), on_slice.cpu().numpy())
        low_res = logits.float().cpu().numpy()
        return [
            SliceMask(
                mask=masks[row],
                logits=pixels[row],
                low_res_logits=low_res[row],
                predicted_iou=iou,
            )
            for row, iou in enumerate(chosen.predicted_iou.tolist())
        ]

    def _question(
        self, prompts: Sequence[Prompts]
    ) -> tuple[Question, Float[Tensor, "b h w"] | None]:
        """What the decoder is asked, and what of the mask prompts goes into its answers' logits."""
        encoder, features = self.model.sam.prompt_encoder, self.embedding.features
        weight = encoder.no_mask_embed.weight
        tokens = [prompt_tokens(given, self.embedding.frame) for given in prompts]
        batch = PromptTokens(
            xy=torch.cat([given.xy for given in tokens]).to(weight.device),
            kind=torch.cat([given.kind for given in tokens]).to(weight.device),
        )
        masks = [
            torch.from_numpy(given.mask_logits).to(weight)
            for given in prompts
            if given.mask_logits is not None
        ]
        carried = None
        if self.model.draws_prompts:
            is_shape = torch.ones_like(batch.kind[:, 0], dtype=torch.bool)
            if not masks:
                side = 4 * features.shape[-1]
                masks = list(draw_prompts(batch, self.embedding.frame.side_px, side).to(weight))
                is_shape = has_box(batch)
            carried = carried_over(torch.stack(masks), is_shape)
        ambiguous = [given.is_ambiguous for given in prompts]
        changed = None
        if masks:
            changed = features.to(weight) + embed_masks(encoder, masks, features.shape[-1])
        question = Question(
            sparse=embed_prompts(encoder, batch, self.embedding.frame.side_px),
            ambiguous=torch.tensor(ambiguous, device=weight.device),
            several=any(ambiguous),
            changed=changed,
        )
        return question, carried


def _require_usable(prompts: Prompts, embedding: SliceEmbedding) -> None:
    region = embedding.frame.region
    places = prompt_places(prompts)
    if not region.contains(places):
        raise PromptError(
            f"A prompt at xy {places.tolist()} reaches outside the part of the slice that was "
            f"embedded (rows {region.row_start} to {region.row_stop - 1}, columns "
            f"{region.col_start} to {region.col_stop - 1}); keep it inside, or give the prompts "
            "when embedding."
        )
    side = 4 * embedding.features.shape[-1]
    if prompts.mask_logits is not None and prompts.mask_logits.shape != (side, side):
        raise PromptError(
            f"The mask prompt has shape {prompts.mask_logits.shape}; expected ({side}, {side}): "
            "give the low_res_logits of an earlier answer on the same embedding."
        )
