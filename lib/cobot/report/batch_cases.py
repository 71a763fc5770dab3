"""Every case of a batch with what a reader should know of it, the most urgent first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cobot.batch.manifest import read_manifest
from cobot.batch.record import MANIFEST_NAME, CaseRecord
from cobot.datasets.plain_names import plain_name
from cobot.errors import CobotError, ConfigError
from cobot.io import read_label_map
from cobot.measures.compare import LabelScore, compare_case, stated_rule
from cobot.measures.mask_pairs import PREFIXES, MaskPair, case_name, mask_files, require_one_grid
from cobot.report.case_warnings import (
    CaseWarning,
    mask_warnings,
    record_warnings,
    truth_warnings,
)
from cobot.report.plausible_volumes import BatchVolumes

MASK = "mask"
"""The kind of output that a page shows."""


@dataclass(frozen=True, slots=True)
class ReviewedCase:
    """A finished case.

    Attributes:
        record: what the batch wrote of it.
        mask: its file.
        warnings: heaviest first.
        scores: plain name of the label to score; empty without truth.
        truth: file of the truth; None without one.
    """

    record: CaseRecord
    mask: Path
    warnings: Sequence[CaseWarning]
    scores: Mapping[str, LabelScore]
    truth: Path | None

    @property
    def urgency(self) -> float:
        """Sum of the warnings' weights."""
        return sum((one.weight for one in self.warnings), 0.0)

    @property
    def least_confidence(self) -> float | None:
        """Of all slices and labels."""
        values = [v for by_slice in self.record.confidence.values() for v in by_slice.values()]
        return min(values) if values else None

    @property
    def mean_dice(self) -> float | None:
        """Over labels; None without truth."""
        dice = [one.scores.dice for one in self.scores.values()]
        known = [value for value in dice if value is not None]
        return float(np.mean(known)) if known else None


@dataclass(frozen=True, slots=True)
class ReviewedBatch:
    """A batch's output folder.

    Attributes:
        done: most urgent first; of equals, the least certain.
        failed: what could not be segmented.
        skipped: what was never meant to be.
        tolerance_mm: of surface Dice.
        has_truth: whether truths were given.
    """

    done: Sequence[ReviewedCase]
    failed: Sequence[CaseRecord]
    skipped: Sequence[CaseRecord]
    tolerance_mm: float
    has_truth: bool


def review_batch(folder: Path, truth: Path | None, tolerance_mm: float) -> ReviewedBatch:
    """Read a batch's output folder, and judge each of its cases.

    Args:
        folder: holds manifest.jsonl.
        truth: folder of true masks, matched by the name of the case; None without.
        tolerance_mm: distance up to which two surfaces count as one.

    Raises:
        ConfigError: there is no manifest, it holds no case, no truth fits any case, or one would
            fit two.
    """
    records = list(read_manifest(folder).values())
    if not records:
        raise ConfigError(
            f"{folder} is not the output of a batch: it has no {MANIFEST_NAME} with a case in it. "
            "Name the folder that was given to cobot segment as -o."
        )
    finished = [one for one in records if _is_done(one)]
    truths = _truths(truth, finished)
    volumes = BatchVolumes([one.volume_ml for one in finished])
    done = [
        _review(one, folder, volumes, truths.get(_plain_case(one)), tolerance_mm)
        for one in finished
    ]
    return ReviewedBatch(
        done=sorted(done, key=_order),
        failed=[one for one in records if one.status == "failed"],
        skipped=[one for one in records if one.status == "skipped"],
        tolerance_mm=tolerance_mm,
        has_truth=truth is not None,
    )


def batch_masks(folder: Path) -> dict[str, Path]:
    """Case to mask of what a batch has finished, named as files of the same case would be.

    Raises:
        ConfigError: two cases would have one name.
    """
    finished = [one for one in read_manifest(folder).values() if _is_done(one)]
    _require_own_names(finished)
    return {_plain_case(one): folder / one.outputs[MASK] for one in finished}


def _is_done(record: CaseRecord) -> bool:
    return record.status == "done" and MASK in record.outputs


def _truths(truth: Path | None, finished: Sequence[CaseRecord]) -> Mapping[str, Path]:
    if truth is None:
        return {}
    _require_own_names(finished)
    found = mask_files(truth)
    if finished and not {_plain_case(one) for one in finished} & set(found):
        raise ConfigError(
            f"No truth in {truth} is named for a case of the batch: it has "
            f"{', '.join(sorted(found)[:3])}, the batch {finished[0].case}. Name each truth for "
            "its case."
        )
    return found


def _require_own_names(finished: Sequence[CaseRecord]) -> None:
    """Refuse cases that one truth would be measured against, or the last would stand for all."""
    known: dict[str, str] = {}
    for one in finished:
        other = known.setdefault(_plain_case(one), one.case)
        if other != one.case:
            raise ConfigError(
                f"Cases {other} and {one.case} of the batch would have the same truth: suffixes "
                f"and the beginnings {' and '.join(PREFIXES)} do not count. Segment them into two "
                "folders, and measure each."
            )


def _plain_case(record: CaseRecord) -> str:
    return case_name(Path(record.case))


def _review(
    record: CaseRecord,
    folder: Path,
    volumes: BatchVolumes,
    truth: Path | None,
    tolerance_mm: float,
) -> ReviewedCase:
    """Judge one case; a file that is gone or does not fit is itself a warning."""
    warnings = list(record_warnings(record, volumes))
    mask = folder / record.outputs[MASK]
    scores: list[LabelScore] = []
    try:
        warnings += mask_warnings(read_label_map(mask))
        if truth is not None:
            require_one_grid(mask, truth)
            pair = MaskPair(record.case, mask, truth)
            scores = list(compare_case(pair, stated_rule(truth), tolerance_mm).scores)
            warnings += truth_warnings(scores)
    except CobotError as error:
        warnings.append(CaseWarning("not readable", str(error), 4.0))
    ordered = sorted(warnings, key=lambda one: -one.weight)
    named = {plain_name(one.label): one for one in scores}
    return ReviewedCase(record, mask, ordered, named, truth)


def _order(case: ReviewedCase) -> tuple[float, float, str]:
    certainty = case.least_confidence
    return -case.urgency, 1.0 if certainty is None else certainty, case.record.case
