"""Are answers to boxes too small or too large, and would another threshold be better?

    python scripts/bench_box_bias.py --data DATA/openkbp/validation --axis k --limit 6 \
        --labels 1=Brainstem,2=SpinalCord

For each structure, over all slices of all cases: the area of the answers by that of the truth, the
same of the ellipses in the same boxes, and Dice where logits are cut elsewhere than at 0. Beside
them how many pixels the structure has on a slice, and which share of these has a neighbour outside.
--mirrored: the logits are the mean over the slice and its mirror image, for twice the time. Boxes
are jittered by 5 % of their side, seed 0. Decision 9 says what came of it.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from cobot.datasets.pairs import image_label_pairs
from cobot.intensity import IntensityWindow
from cobot.planes import Slice
from cobot.prompts import Prompts
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import load_sam
from cobot.shapes import BoxXyxy
from cobot.training.baseline import ellipse_in_box
from cobot.training.evaluate_prompts import (
    SEED_MARK,
    CaseOptions,
    PromptedCase,
    StructureTally,
    prompted_slices,
    read_case,
)
from cobot.training.task import parse_labels
from scipy import ndimage

JITTERED = f"box_jitter{SEED_MARK}0"
ELLIPSE = "ellipse"
CUTS = {f"Dice at {logit:g}": logit for logit in (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0)}
AS_ANSWERED = "Dice at 0"
EDGE = "edge"


@dataclass(slots=True)
class Counted:
    """One structure, over all slices so far."""

    tally: StructureTally = field(default_factory=StructureTally)
    slices: int = 0


def main() -> None:
    """Count every case, then print the table."""
    options = read_options()
    torch.set_num_threads(options.threads)
    segmenter = SliceSegmenter(
        load_sam("tiny", options.weights), "cpu", SegmenterOptions(precision="fp32")
    )
    counted: dict[str, Counted] = {}
    read = CaseOptions(parse_labels(options.labels), options.axis)
    for image, label in image_label_pairs(options.data)[: options.limit]:
        count_case(read_case(image, label, read), segmenter, counted, options.mirrored)
    print(table(counted))


def count_case(
    case: PromptedCase, segmenter: SliceSegmenter, counted: dict[str, Counted], mirrored: bool
) -> None:
    """Ask for every structure on every slice that holds it."""
    for one in prompted_slices(case, (0,)):
        boxes = one.boxes[JITTERED]
        answers = logits(segmenter, one.slice_, case.window, list(boxes.values()))
        if mirrored:
            image, turned = mirror_image(one.slice_, list(boxes.values()))
            others = logits(segmenter, image, case.window, turned)
            answers = [(a + b[:, ::-1]) / 2 for a, b in zip(answers, others, strict=True)]
        for (name, box), answer in zip(boxes.items(), answers, strict=True):
            here, truth = counted.setdefault(name, Counted()), one.truths[name]
            here.slices += 1
            here.tally.add(ELLIPSE, ellipse_in_box(box, one.shape), truth)
            here.tally.add(EDGE, truth & ~ndimage.binary_erosion(truth), truth)
            for measure, cut in CUTS.items():
                here.tally.add(measure, answer > cut, truth)


def logits(
    segmenter: SliceSegmenter, slice_: Slice, window: IntensityWindow, boxes: Sequence[BoxXyxy]
) -> list[np.ndarray]:
    """What the answer to each box is cut from, on the slice's pixels."""
    answers = segmenter.segment(slice_, window, [Prompts(box_xyxy=box) for box in boxes])
    return [answer.logits for answer in answers]


def mirror_image(slice_: Slice, boxes: Sequence[BoxXyxy]) -> tuple[Slice, list[BoxXyxy]]:
    """The slice and its boxes, left and right exchanged."""
    last = slice_.pixels.shape[1] - 1
    turned = [np.array([last - x1, y0, last - x0, y1]) for x0, y0, x1, y1 in boxes]
    return replace(slice_, pixels=np.ascontiguousarray(slice_.pixels[:, ::-1])), turned


def table(counted: Mapping[str, Counted]) -> str:
    """Markdown, a line for each structure."""
    titles = (
        "structure", "pixels a slice", "at the edge", "area / truth", "ellipse / truth",
        "Dice of ellipse", *CUTS,
    )  # fmt: skip
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name, one in counted.items():
        found = one.tally.overlaps
        pixels = found[EDGE].truth
        areas = (found[part].answer / pixels for part in (EDGE, AS_ANSWERED, ELLIPSE))
        dice = (found[measure].dice for measure in (ELLIPSE, *CUTS))
        cells = [f"{pixels / one.slices:.1f}", *(f"{area:.2f}" for area in areas)]
        lines.append(f"| {' | '.join([name, *cells, *(f'{value:.3f}' for value in dice)])} |")
    return "\n".join(lines)


def read_options() -> argparse.Namespace:
    """What the user wants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="image_*/label_* pairs")
    parser.add_argument("--labels", required=True, help="1=liver,2=spleen")
    parser.add_argument("--axis", default="auto", help="i, j, k or auto: the coarsest spacing")
    parser.add_argument("--limit", type=int, help="only the first cases")
    parser.add_argument("--weights", type=Path, help="another file of tiny")
    parser.add_argument("--mirrored", action="store_true", help="mean with the mirror image")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
