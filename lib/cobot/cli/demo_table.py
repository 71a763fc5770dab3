"""The demo's tables: how the model compares with trivial answers to the same boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np
from jaxtyping import Bool
from rich.table import Table

from cobot.planes import Plane
from cobot.prompts import VolumePrompts
from cobot.training.baseline import ellipsoid_in_box
from cobot.training.boxes import slice_boxes
from cobot.training.evaluate import dice
from cobot.volume import LabelMap


@dataclass(frozen=True, slots=True)
class OrganScore:
    """Dice against the truth, over the whole volume, for two ways to prompt.

    Attributes:
        name: the organ.
        one_box: the model, given one 3D box.
        ellipsoid: the ellipsoid that fills that box.
        slice_boxes: the model, given a tight box on every slice.
        ellipses: the ellipses that fill those boxes.
    """

    name: str
    one_box: float
    ellipsoid: float
    slice_boxes: float
    ellipses: float


def compare(
    truth: LabelMap, prompts: VolumePrompts, found: LabelMap, tight: LabelMap
) -> list[OrganScore]:
    """Score every organ that was asked for.

    Args:
        truth: what is right.
        prompts: one 3D box for each organ.
        found: the model's answer to them.
        tight: the model's answer to a tight box on every slice.
    """
    scores = []
    for target in prompts.objects:
        if target.box_ijk is None:
            continue
        true = truth.mask(target.label)
        scores.append(
            OrganScore(
                name=target.label,
                one_box=dice(found.mask(target.label), true),
                ellipsoid=dice(ellipsoid_in_box(target.box_ijk, true.shape), true),
                slice_boxes=dice(tight.mask(target.label), true),
                ellipses=dice(_ellipses(truth, target.label, prompts.plane), true),
            )
        )
    return scores


def dice_table(scores: Sequence[OrganScore], base: Sequence[OrganScore] | None = None) -> Table:
    """Organs by way of prompting; the best of a way in bold.

    Args:
        scores: of the model.
        base: of its frozen base, organ by organ, if the model is adapted.
    """
    table = Table(title="Dice against the phantom's truth", title_justify="left")
    table.add_column("organ")
    for way, trivial in (("one 3D box", "ellipsoid"), ("box on each slice", "ellipses")):
        names = ("model",) if base is None else ("adapted", "base")
        for index, name in enumerate((*names, trivial)):
            table.add_column(f"{way if index == 0 else ''}\n{name}", justify="right")
    rows = [[score] for score in scores] if base is None else list(zip(scores, base, strict=True))
    for row in rows:
        _add_row(table, row)
    table.add_section()
    _add_row(table, [_average([row[index] for row in rows]) for index in range(len(rows[0]))])
    return table


def volume_table(found: LabelMap, base: LabelMap | None = None) -> Table:
    """Millilitres of each structure, where no truth is known.

    Args:
        found: by the model.
        base: by its frozen base, if the model is adapted.
    """
    table = Table(title="Segmented", title_justify="left")
    table.add_column("structure")
    table.add_column("volume (mL)" if base is None else "adapted (mL)", justify="right")
    if base is not None:
        table.add_column("frozen base (mL)", justify="right")
    voxel_ml = abs(np.linalg.det(found.affine[:3, :3])) / 1000
    for name in found.labels.values():
        maps = [found] if base is None else [found, base]
        table.add_row(name, *(f"{np.count_nonzero(one.mask(name)) * voxel_ml:.1f}" for one in maps))
    return table


def _ellipses(truth: LabelMap, name: str, plane: Plane) -> Bool[np.ndarray, "i j k"]:
    filled = np.zeros(truth.voxels.shape, bool)
    for prompts in slice_boxes(truth, [name], plane).values():
        for target in prompts.objects:
            if target.box_ijk is not None:
                filled |= ellipsoid_in_box(target.box_ijk, filled.shape)
    return filled


def _average(scores: Sequence[OrganScore]) -> OrganScore:
    return OrganScore(
        name="mean",
        one_box=mean(score.one_box for score in scores),
        ellipsoid=mean(score.ellipsoid for score in scores),
        slice_boxes=mean(score.slice_boxes for score in scores),
        ellipses=mean(score.ellipses for score in scores),
    )


def _add_row(table: Table, models: Sequence[OrganScore]) -> None:
    """One organ: for each way of prompting every model, then the trivial answer."""
    first = models[0]
    ways = (
        [*(score.one_box for score in models), first.ellipsoid],
        [*(score.slice_boxes for score in models), first.ellipses],
    )
    cells = [
        f"[bold]{value:.3f}[/]" if value == max(way) else f"{value:.3f}"
        for way in ways
        for value in way
    ]
    table.add_row(first.name, *cells)
