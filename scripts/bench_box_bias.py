"""Are answers to boxes too small or too large, and would another threshold be better?

    python scripts/bench_box_bias.py --data DATA/openkbp/validation --axis k --limit 6 \
        --labels 1=Brainstem,2=SpinalCord

For each structure, over all slices of all cases: the area of the answers by that of the truth, the
same of the ellipses in the same boxes, and Dice where logits are cut elsewhere than at 0. Boxes are
jittered by 5 % of their side, seed 0. Decision 9 says what came of it.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from cobot.datasets.pairs import image_label_pairs
from cobot.prompts import Prompts
from cobot.sam.answer import SliceMask
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import load_sam
from cobot.shapes import BoxXyxy, Mask
from cobot.slicing import cut_slice
from cobot.training.baseline import ellipse_in_box
from cobot.training.clicks import jittered_box
from cobot.training.evaluate_prompts import BOX_JITTER, CaseOptions, PromptedCase, read_case
from cobot.training.task import parse_labels

THRESHOLDS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0)


@dataclass(slots=True)
class Tally:
    """Pixels of one structure, summed over slices and cases."""

    truth: int = 0
    ellipse: int = 0
    ellipse_both: int = 0
    answer: np.ndarray = field(default_factory=lambda: np.zeros(len(THRESHOLDS)))
    both: np.ndarray = field(default_factory=lambda: np.zeros(len(THRESHOLDS)))

    def add(self, answer: SliceMask, box: BoxXyxy, truth: Mask) -> None:
        """Count one slice."""
        rows, cols = truth.shape
        ellipse = ellipse_in_box(box, (rows, cols))
        self.truth += int(truth.sum())
        self.ellipse += int(ellipse.sum())
        self.ellipse_both += int((ellipse & truth).sum())
        cuts = [answer.logits > threshold for threshold in THRESHOLDS]
        self.answer += [int(cut.sum()) for cut in cuts]
        self.both += [int((cut & truth).sum()) for cut in cuts]

    def row(self, name: str) -> str:
        """One line of the table."""
        of_ellipse = 2 * self.ellipse_both / (self.ellipse + self.truth)
        dice = 2 * self.both / (self.answer + self.truth)
        areas = (self.answer[THRESHOLDS.index(0.0)] / self.truth, self.ellipse / self.truth)
        cells = [f"{one:.2f}" for one in areas] + [f"{one:.3f}" for one in (of_ellipse, *dice)]
        return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Count every case, then print the table."""
    options = read_options()
    torch.set_num_threads(options.threads)
    segmenter = SliceSegmenter(
        load_sam("tiny", options.weights), "cpu", SegmenterOptions(precision="fp32")
    )
    tallies: dict[str, Tally] = {}
    read = CaseOptions(parse_labels(options.labels), options.axis)
    for image, label in image_label_pairs(options.data)[: options.limit]:
        count_case(read_case(image, label, read), segmenter, tallies)
    cuts = " | ".join(f"Dice at {cut:g}" for cut in THRESHOLDS)
    print(f"| structure | area / truth | ellipse / truth | Dice of ellipse | {cuts} |")
    print("|" + "---|" * (4 + len(THRESHOLDS)))
    for name, tally in tallies.items():
        print(tally.row(name))


def count_case(case: PromptedCase, segmenter: SliceSegmenter, tallies: dict[str, Tally]) -> None:
    """Ask for every structure on every slice that holds it."""
    rng = np.random.default_rng(0)
    for index in range(case.volume.shape[case.plane.axis]):
        truths = masks_on(case, index)
        boxes = [jittered_box(truth, BOX_JITTER, rng) for truth in truths.values()]
        if not truths:
            continue
        asked = [Prompts(box_xyxy=box) for box in boxes]
        answers = segmenter.segment(cut_slice(case.volume, case.plane, index), case.window, asked)
        for (name, truth), box, answer in zip(truths.items(), boxes, answers, strict=True):
            tallies.setdefault(name, Tally()).add(answer, box, truth)


def masks_on(case: PromptedCase, index: int) -> dict[str, Mask]:
    """The structures on one slice."""
    values = case.plane.picture(case.truth.voxels, index)
    masks = {name: values == value for value, name in case.truth.labels.items()}
    return {name: mask for name, mask in masks.items() if mask.any()}


def read_options() -> argparse.Namespace:
    """What the user wants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="image_*/label_* pairs")
    parser.add_argument("--labels", required=True, help="1=liver,2=spleen")
    parser.add_argument("--axis", default="auto", help="i, j, k or auto: the coarsest spacing")
    parser.add_argument("--limit", type=int, help="only the first cases")
    parser.add_argument("--weights", type=Path, help="another file of tiny")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
