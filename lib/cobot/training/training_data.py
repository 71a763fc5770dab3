"""From a folder of labelled volumes to the two sides of a training."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lightning_fabric import Fabric

from cobot.datasets.patients import patients
from cobot.errors import CobotError, ConfigError
from cobot.training.corrections import Correction, find_corrections
from cobot.training.request import TrainingRequest
from cobot.training.slice_cache import CaseIndex, SliceCache
from cobot.training.slice_dataset import SliceDataset
from cobot.training.split import FEWEST_CASES, Split, SplitCase, read_manifest, split_cases
from cobot.training.task import TrainingTask

SPLIT_NAME = "split.json"

READINGS = 3
"""Of all labels, until nobody changed one meanwhile; each takes seconds to minutes."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """What is learnt from, and what is measured on.

    Attributes:
        split: the sides by case.
        train: slices to learn from.
        validation: slices to measure on.
        fingerprint: of images, labels and sides.
    """

    split: Split
    train: SliceDataset
    validation: SliceDataset
    fingerprint: str


def prepare_data(request: TrainingRequest, fabric: Fabric) -> TrainingData:
    """Find the cases, split them, and decode what is not decoded yet.

    The first process does the work, the others then find it done.

    Raises:
        CobotError: no labelled volume, a file that cannot be read, or a split that cannot be.
    """
    with fabric.rank_zero_first():
        return _prepare(request)


def _prepare(request: TrainingRequest) -> TrainingData:
    cache = SliceCache(
        request.store / "cache", request.task, request.recipe.negative_ratio, request.cache_bytes
    )
    corrections, read = _read_unchanged(request, cache)
    of_patient = patients(request.data)
    cases = [
        SplitCase(case, one.image_sha256, bool(one.drawn), of_patient.get(case, ""))
        for case, one in read.items()
    ]
    if request.must_hold_out:
        _require_enough(request, cases)
    split = (
        split_cases(cases, request.validation_fraction, request.store / SPLIT_NAME)
        if request.split is None
        else read_manifest(request.split, cases)
    )
    labelled = {one.name for one in cases if one.labelled}
    if split.held_out and labelled and not labelled & set(split.validation):
        raise ConfigError(_nothing_to_measure(request, split))
    if request.must_hold_out and not split.held_out:
        raise ConfigError(
            "All these studies were learnt from before, so none can be held back to measure on. "
            "Submit the label of one more."
        )
    split = _with_unmeasured(split, request.task, read)
    groups = request.task.window_groups()
    train, validation = (
        SliceDataset(cache, [corrections[case] for case in side], groups)
        for side in (split.train, split.validation)
    )
    sides = [
        [[case, *cache.checksums(corrections[case])] for case in side]
        for side in (split.train, split.validation)
    ]
    fingerprint = hashlib.sha256(json.dumps(sides).encode()).hexdigest()
    return TrainingData(split, train, validation, fingerprint)


def _read_unchanged(
    request: TrainingRequest, cache: SliceCache
) -> tuple[dict[str, Correction], dict[str, CaseIndex]]:
    """Every case by name, decoded; begun again where somebody submitted a label meanwhile.

    Reading takes minutes, and a label's values mean what was submitted with it: a new label read
    by the names of the old one would teach wrong structures.
    """
    for _ in range(READINGS):
        corrections = _corrections(request)
        try:
            read = {case: cache.index(one) for case, one in corrections.items()}
        except CobotError:
            if _corrections(request) == corrections:
                raise
            continue
        if _corrections(request) == corrections:
            return corrections, read
        logger.info("A label was submitted while the labels were read; reading again.")
    raise ConfigError(
        f"The labels in {request.data} changed {READINGS} times while they were read; train again "
        "when nobody is submitting."
    )


def _corrections(request: TrainingRequest) -> dict[str, Correction]:
    """The labelled cases as they are now, by name."""
    found = find_corrections(request.data)
    return {one.case: one for one in found if one.case not in request.left_out}


def _with_unmeasured(split: Split, task: TrainingTask, read: Mapping[str, CaseIndex]) -> Split:
    """The split; its note tells of structures that are learnt and that no measured case has."""
    learnt, measured = (
        frozenset[int]().union(*(read[case].drawn for case in side))
        for side in (split.train, split.validation)
    )
    if not learnt - measured:
        return split
    names = ", ".join(task.labels[value] for value in sorted(learnt - measured))
    note = f"No case held back has {names}: how well that is learnt is not measured."
    return replace(split, note=" ".join(filter(None, (split.note, note))))


def _require_enough(request: TrainingRequest, cases: Sequence[SplitCase]) -> None:
    """Before sides are written down: who labels these same studies later can have one held back.

    Raises:
        ConfigError: there are not two different images to learn from and to measure on.
    """
    origins = {one.origin for one in cases if one.labelled}
    if len(origins) < 2:
        raise ConfigError(
            f"{len(origins)} of {len(cases)} labelled studies can be learnt from (copies of an "
            "image count once), so none can be held back to measure on. Submit labels of "
            f"{' or '.join(request.task.labels.values())} for more studies; {FEWEST_CASES} "
            "different ones are enough."
        )


def _nothing_to_measure(request: TrainingRequest, split: Split) -> str:
    held = ", ".join(split.validation[:3])
    cure = (
        f"give a --split that holds back others, or move {request.store / SPLIT_NAME} away to have "
        "them drawn anew"
        if request.split is None
        else "hold back others"
    )
    return (
        f"None of the {len(split.validation)} cases held back to measure on ({held}) has a voxel "
        "of the task's labels. Check these label files and the values of --dataset; if they are "
        f"right, {cure}."
    )
