"""From a folder of labelled volumes to the two sides of a training."""

import hashlib
import json
from dataclasses import dataclass

from lightning_fabric import Fabric

from cobot.errors import ConfigError
from cobot.training.corrections import find_corrections
from cobot.training.request import TrainingRequest
from cobot.training.slice_cache import SliceCache
from cobot.training.slice_dataset import SliceDataset
from cobot.training.split import Split, SplitCase, read_manifest, split_cases

SPLIT_NAME = "split.json"


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
    found = find_corrections(request.data)
    corrections = {one.case: one for one in found if one.case not in request.left_out}
    cache = SliceCache(
        request.store / "cache", request.task, request.recipe.negative_ratio, request.cache_bytes
    )
    sums = {case: cache.checksums(one) for case, one in corrections.items()}
    cases = [
        SplitCase(case, image, bool(cache.index(corrections[case]).drawn))
        for case, (image, _) in sums.items()
    ]
    record = request.store / SPLIT_NAME
    split = (
        split_cases(cases, request.validation_fraction, record)
        if request.split is None
        else read_manifest(request.split, cases)
    )
    groups = request.task.window_groups()
    labelled = {one.name for one in cases if one.labelled}
    if split.held_out and labelled and not labelled & set(split.validation):
        raise ConfigError(_nothing_to_measure(request, split))
    train, validation = (
        SliceDataset(cache, [corrections[case] for case in side], groups)
        for side in (split.train, split.validation)
    )
    sides = [[[case, *sums[case]] for case in side] for side in (split.train, split.validation)]
    fingerprint = hashlib.sha256(json.dumps(sides).encode()).hexdigest()
    return TrainingData(split, train, validation, fingerprint)


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
