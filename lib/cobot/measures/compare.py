"""Two files, or two folders of them, compared label by label."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cobot.io import read_label_map
from cobot.measures.mask_pairs import MaskPair
from cobot.measures.mask_scores import MaskScores, score_masks
from cobot.measures.shared_labels import LabelRule, share_labels
from cobot.training.corrections import Correction
from cobot.training.data_labels import stated_labels


@dataclass(frozen=True, slots=True)
class LabelScore:
    """One structure of one case."""

    case: str
    label: str
    scores: MaskScores


@dataclass(frozen=True, slots=True)
class ComparedCase:
    """One case.

    Attributes:
        scores: of each structure.
        left_out: structures that only one of the two files names.
    """

    scores: Sequence[LabelScore]
    left_out: Sequence[str]


def compare_case(pair: MaskPair, rule: LabelRule, tolerance_mm: float) -> ComparedCase:
    """Measure every structure of a pair of files that lie on one grid.

    Args:
        pair: the files; see `require_one_grid`.
        rule: what the user says of the labels.
        tolerance_mm: distance up to which two surfaces count as one.

    Raises:
        ConfigError: which values are the same structure is not known.
        ImageReadError: a file cannot be read as labels.
    """
    prediction, truth = read_label_map(pair.prediction), read_label_map(pair.truth)
    shared = share_labels((pair.prediction, prediction), (pair.truth, truth), rule)
    scores = [
        LabelScore(
            pair.case,
            name,
            score_masks(
                shared.prediction.mask(name), shared.truth.mask(name), truth.affine, tolerance_mm
            ),
        )
        for name in shared.names
    ]
    return ComparedCase(scores, shared.left_out)


def stated_rule(truth: Path) -> LabelRule:
    """What a file beside a truth (dataset.json, manifest.json) says of its values, if it has none.

    Raises:
        ConfigError: that file is damaged.
    """
    stated = stated_labels(truth.parent, Correction(truth, truth))
    return LabelRule(stated.labels if stated and not stated.in_files else {})
