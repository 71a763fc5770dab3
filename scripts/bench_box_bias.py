"""Are answers to boxes too small or too large, and would another threshold be better?

    python scripts/bench_box_bias.py --data DATA/openkbp/validation --axis k --limit 6 \
        --labels 1=Brainstem,2=SpinalCord

For each structure, over all slices of all cases: the area of the answers by that of the truth, the
same of the ellipses in the same boxes, and Dice where logits are cut elsewhere than at 0. Boxes are
jittered by 5 % of their side, seed 0. Decision 9 says what came of it.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from cobot.datasets.pairs import image_label_pairs
from cobot.prompts import Prompts
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import load_sam
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

JITTERED = f"box_jitter{SEED_MARK}0"
ELLIPSE = "ellipse"
CUTS = {f"Dice at {logit:g}": logit for logit in (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0)}
AS_ANSWERED = "Dice at 0"


def main() -> None:
    """Count every case, then print the table."""
    options = read_options()
    torch.set_num_threads(options.threads)
    segmenter = SliceSegmenter(
        load_sam("tiny", options.weights), "cpu", SegmenterOptions(precision="fp32")
    )
    tallies: dict[str, StructureTally] = {}
    read = CaseOptions(parse_labels(options.labels), options.axis)
    for image, label in image_label_pairs(options.data)[: options.limit]:
        count_case(read_case(image, label, read), segmenter, tallies)
    print(table(tallies))


def count_case(
    case: PromptedCase, segmenter: SliceSegmenter, tallies: dict[str, StructureTally]
) -> None:
    """Ask for every structure on every slice that holds it."""
    for one in prompted_slices(case, (0,)):
        boxes = one.boxes[JITTERED]
        asked = [Prompts(box_xyxy=box) for box in boxes.values()]
        answers = segmenter.segment(one.slice_, case.window, asked)
        for (name, box), answer in zip(boxes.items(), answers, strict=True):
            tally, truth = tallies.setdefault(name, StructureTally()), one.truths[name]
            tally.add(ELLIPSE, ellipse_in_box(box, one.shape), truth)
            for measure, logit in CUTS.items():
                tally.add(measure, answer.logits > logit, truth)


def table(tallies: Mapping[str, StructureTally]) -> str:
    """Markdown, a line for each structure."""
    titles = ("structure", "area / truth", "ellipse / truth", "Dice of ellipse", *CUTS)
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name, tally in tallies.items():
        found = tally.overlaps
        areas = (found[one].answer / found[one].truth for one in (AS_ANSWERED, ELLIPSE))
        dice = (found[one].dice for one in (ELLIPSE, *CUTS))
        cells = [name, *(f"{one:.2f}" for one in areas), *(f"{one:.3f}" for one in dice)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


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
