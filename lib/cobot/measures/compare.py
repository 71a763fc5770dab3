"""Two files, or two folders of them, compared label by label."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cobot.errors import ConfigError
from cobot.io import read_label_map
from cobot.measures.mask_pairs import MaskPair
from cobot.measures.mask_scores import MaskScores, Presence, score_masks
from cobot.measures.shared_labels import LabelRule, share_labels
from cobot.training.corrections import FINAL_TAG, RECORD_NAME, Correction, find_corrections
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
        rule: what is said of the labels beside the headers; see `stated_rule`.
        tolerance_mm: distance up to which two surfaces count as one.

    Raises:
        ConfigError: which values are the same structure is not known.
        ImageReadError: a file cannot be read as labels.
    """
    truth = read_label_map(pair.truth)
    prediction = read_label_map(pair.prediction).on_grid_of(truth)
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


def require_met(cases: Sequence[ComparedCase], wanted: Sequence[str]) -> None:
    """Refuse an answer of dashes: nobody meant structures of which no file holds a voxel.

    Raises:
        ConfigError: so it is with all that are wanted.
    """
    scores = [score for case in cases for score in case.scores]
    if any(one.scores.presence is not Presence.NEITHER for one in scores):
        return
    named = sorted({name for case in cases for name in case.left_out})
    others = f" They name {', '.join(named)}." if named else ""
    raise ConfigError(
        f"No file holds a voxel of {', '.join(wanted)}.{others} Names in files count before "
        "values: write --labels with those."
    )


def stated_rule(truth: Path, labels: Mapping[int, str] | None = None) -> LabelRule:
    """What is known of the values of one pair beside the headers of its files.

    Names submitted with the truth come first. Where neither it nor its header has names, the user's
    hold; without these, those of a description (dataset.json, manifest.json).

    Args:
        truth: its file.
        labels: value to name, as the user says; then exactly these structures are measured.

    Raises:
        ConfigError: a description, or the record of what was submitted, is damaged.
    """
    datastore = _datastore(truth)
    submitted = _submitted_names(truth, datastore) if datastore else {}
    if labels:
        return LabelRule(labels, tuple(labels.values()), submitted)
    if submitted:
        return LabelRule(submitted=submitted)
    stated = stated_labels(datastore or truth.parent, Correction(truth, truth))
    return LabelRule(stated.labels if stated and not stated.in_files else {})


def _datastore(truth: Path) -> Path | None:
    """The MONAI Label datastore that a truth is a final label of; None if there is none."""
    final = Path(os.path.abspath(truth)).parent
    inside = (final.parent.name, final.name) == ("labels", FINAL_TAG)
    datastore = final.parent.parent
    # Labels without the server's record came with no names, and need no images beside them.
    return datastore if inside and (datastore / RECORD_NAME).is_file() else None


def _submitted_names(truth: Path, datastore: Path) -> dict[int, str]:
    """Value to name, as training takes them: each submission numbers its structures anew."""
    final = Path(os.path.abspath(truth))
    return next((dict(one.names) for one in _corrections(datastore) if one.corrected == final), {})


@lru_cache(maxsize=1)
def _corrections(datastore: Path) -> tuple[Correction, ...]:
    """Read once for all truths of a command."""
    return find_corrections(datastore)
