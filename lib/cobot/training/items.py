"""From a labelled slice to what one training step needs of it."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from cobot.prompts import Prompts
from cobot.sam.decoder import PromptTokens
from cobot.sam.frame import SamFrame
from cobot.sam.segmenter import SliceSegmenter, SliceView
from cobot.shapes import Mask
from cobot.training.recipe import Recipe
from cobot.training.slice_dataset import LabelledSlice, SliceDataset
from cobot.training.training_prompts import draw_prompts


@dataclass(frozen=True, slots=True, eq=False)
class TrainingItem:
    """One slice ready for a step.

    Attributes:
        view: the picture as the encoder will see it.
        masks: answers on the frame.
        prompts: one prompt for each of them.
        labelled: the slice it was made of, with all of its structures.
    """

    view: SliceView
    masks: Bool[Tensor, "n side side2"]
    prompts: PromptTokens
    labelled: LabelledSlice


@dataclass(frozen=True, slots=True)
class ItemMaker:
    """Makes items; an item depends on what is asked for and on nothing else.

    Attributes:
        dataset: the slices.
        shown_by: crops and windows slices as at inference.
        recipe: says what is asked.
        seed: of the training.
    """

    dataset: SliceDataset
    shown_by: SliceSegmenter
    recipe: Recipe
    seed: int

    def make(self, sample: int, epoch: int) -> TrainingItem:
        """The item of a sample in an epoch."""
        rng = np.random.default_rng([self.seed, epoch, sample])
        labelled = self.dataset.read(self.dataset.samples[sample])
        return training_item(labelled, self.shown_by, self.recipe, rng)


def training_item(
    labelled: LabelledSlice, shown_by: SliceSegmenter, recipe: Recipe, rng: np.random.Generator
) -> TrainingItem:
    """Draw objects and prompts; the frame is the one that inference would choose for their boxes.

    Args:
        labelled: the slice.
        shown_by: crops and windows as at inference; its weights are not used.
        recipe: how many objects, and which prompts.
        rng: source of randomness.
    """
    count = min(recipe.objects_per_slice, len(labelled.objects))
    chosen = sorted(rng.choice(len(labelled.objects), count, replace=False).tolist())
    objects = [labelled.objects[index] for index in chosen]
    asked = [Prompts(box_xyxy=one.box_xyxy) for one in labelled.objects]
    view = shown_by.view(labelled.slice_, labelled.window, asked)
    masks = np.stack([_framed(one.mask, view.frame) for one in objects])
    boxes = np.stack([view.frame.box(one.box_xyxy) for one in objects])
    boxes = np.clip(boxes, 0, view.frame.side_px - 1)
    prompts = draw_prompts(masks, boxes, recipe.prompts, rng, recipe.loose_boxes)
    return TrainingItem(view, torch.from_numpy(masks), prompts, labelled)


def _framed(mask: Mask, frame: SamFrame) -> Bool[np.ndarray, "side side2"]:
    """A mask on the frame; what is thinner than a frame pixel keeps its best pixels."""
    share = frame.mask_from_pixels(mask).numpy()
    highest = share.max()
    return share >= min(0.5, highest) if highest > 0 else share > 0
