"""What labelling a case costs: a box for each structure on each slice, and clicks that correct."""

from dataclasses import replace

import numpy as np

from cobot.prompts import Prompts
from cobot.sam.answer import SliceEmbedding
from cobot.sam.embed_many import BatchPlan, SliceJob, embed_many
from cobot.sam.embeddings import EmbeddingService
from cobot.sam.segmenter import SliceSegmenter
from cobot.training.clicks import corrective_click
from cobot.training.evaluate import dice
from cobot.training.slice_dataset import LabelledSlice, SliceDataset, SliceObject

GOOD_DICE = 0.85
MOST_CLICKS = 3
"""After these an annotator paints the rest."""


def prompts_for_case(
    dataset: SliceDataset, model: SliceSegmenter, encoder: SliceSegmenter, kept: EmbeddingService
) -> int:
    """Prompts of a simulated annotator for all slices of a data set.

    One box for each structure on each slice, and after it up to three clicks, each on the largest
    error, until the slice's Dice is 0.85.

    Args:
        dataset: the slices.
        model: answers.
        encoder: embeds; its encoder is the model's.
        kept: embeddings that need not be computed again.
    """
    shown = [dataset.read(sample) for sample in dataset.samples if sample.present]
    present = [[one for one in each.objects if one.mask.any()] for each in shown]
    jobs = [_job(each, objects) for each, objects in zip(shown, present, strict=True)]
    embedded = embed_many(encoder, jobs, BatchPlan(cache=kept))
    return sum(
        _prompts_on_slice(objects, model, embedding)
        for objects, (_, embedding) in zip(present, embedded, strict=True)
    )


def _job(shown: LabelledSlice, objects: list[SliceObject]) -> SliceJob:
    # The same boxes as in training and measuring, so that embeddings are shared.
    boxes = tuple(Prompts(box_xyxy=one.box_xyxy) for one in shown.objects)
    return SliceJob(shown.slice_, shown.window, boxes[: len(objects)])


def _prompts_on_slice(
    objects: list[SliceObject], model: SliceSegmenter, embedding: SliceEmbedding
) -> int:
    spent = 0
    asked = [Prompts(box_xyxy=one.box_xyxy) for one in objects]
    for clicks in range(MOST_CLICKS + 1):
        spent += len(asked)
        answers = model.decode(embedding, asked) if asked else []
        if clicks == MOST_CLICKS:
            break
        wrong = [
            (one, prompts, answer)
            for one, prompts, answer in zip(objects, asked, answers, strict=True)
            if dice(answer.mask, one.mask) < GOOD_DICE
        ]
        objects = [one for one, _, _ in wrong]
        asked = [
            _with_click(prompts, one, answer.mask, answer.low_res_logits)
            for one, prompts, answer in wrong
        ]
    return spent


def _with_click(
    prompts: Prompts, one: SliceObject, answer: np.ndarray, logits: np.ndarray
) -> Prompts:
    click = corrective_click(one.mask, answer)
    assert click is not None  # the Dice is below 1
    return replace(
        prompts,
        points_xy=np.concatenate([prompts.points_xy, [[click.x_px, click.y_px]]]),
        positive=np.append(prompts.positive, click.positive),
        mask_logits=logits,
    )
