"""One prompted slice to the whole structure: slice after slice, both ways, until a rule ends it.

From each prompted slice a walk goes outwards in both directions. On the next slice the last mask
asks for itself, each of its connected parts apart, so that a box never spans the gap between two
kidneys. A walk ends where the answer is no longer the same structure (`PropagationRule.refusal`),
at the next prompted slice, or at the edge. Between two prompted slices two walks cross: there their
logits are averaged, the nearer prompt counting more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cobot.errors import GeometryError, PromptError
from cobot.planes import Plane
from cobot.prompts import ObjectPrompts, Prompts
from cobot.propagate_rule import PropagationRule, mask_iou
from cobot.propagate_slices import AnsweringSlices
from cobot.propagate_walk import (
    Ground,
    NoMemory,
    PropagatedSlice,
    StepMemory,
    WalkEnd,
    Walker,
    start_on,
)
from cobot.shapes import Mask, PointsXy
from cobot.slicing import cut_slice
from cobot.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class Seeds:
    """What an annotator said about one structure, slice by slice.

    Attributes:
        prompts: slice index to what is asked on it.
        negative_xy: slice index to negative clicks on slices that have nothing else; they join
            the question that a walk asks there.
    """

    prompts: Mapping[int, Prompts]
    negative_xy: Mapping[int, PointsXy] = field(default_factory=dict)

    @classmethod
    def of(cls, target: ObjectPrompts, volume: Volume, plane: Plane) -> "Seeds":
        """The prompts of an object, on the slices of a plane.

        Raises:
            PromptError: a prompt lies outside the volume.
        """
        target.require_inside(volume)
        prompts: dict[int, Prompts] = {}
        negative_xy: dict[int, PointsXy] = {}
        for index in range(volume.shape[plane.axis]):
            slice_ = cut_slice(volume, plane, index)
            asked = target.on_slice(slice_)
            here = target.points_ijk[:, plane.axis] == index
            if asked is not None:
                prompts[index] = asked
            elif here.any():
                negative_xy[index] = slice_.xy_from_ijk(target.points_ijk[here])
        return cls(prompts, negative_xy)


@dataclass(frozen=True, slots=True, eq=False)
class Propagation:
    """A structure through the volume.

    Attributes:
        slices: index to the structure there, ascending; slices without it are left out.
        ends: of every walk.
    """

    slices: Mapping[int, PropagatedSlice]
    ends: tuple[WalkEnd, ...]

    @property
    def masks(self) -> dict[int, Mask]:
        """Slice index to mask."""
        return {index: one.mask for index, one in self.slices.items()}

    @property
    def confidence(self) -> dict[int, float]:
        """Slice index to confidence."""
        return {index: one.confidence for index, one in self.slices.items()}

    @property
    def least_certain(self) -> int | None:
        """The slice most worth a look among those without a prompt; None if there is none."""
        open_ = [one for one in self.slices.values() if one.distance_mm > 0]
        return min(open_, key=lambda one: one.confidence).index if open_ else None


DEFAULT_RULE = PropagationRule()
NO_MEMORY = NoMemory()


def propagate(
    slices: AnsweringSlices,
    seeds: Seeds,
    rule: PropagationRule = DEFAULT_RULE,
    go_on: Callable[[], bool] = lambda: True,
) -> Propagation:
    """Follow one structure from its prompted slices through the volume.

    Args:
        slices: the volume and the model.
        seeds: at least one prompted slice.
        rule: how masks are carried on, and when not.
        go_on: asked before each slice; when it says no, what is ready is returned.

    Raises:
        PromptError: nothing is asked for, or a prompt lies off its slice.
        GeometryError: a prompted slice does not exist.
    """
    return propagate_together(slices, [seeds], rule, go_on)[0]


def propagate_together(
    slices: AnsweringSlices,
    structures: Sequence[Seeds],
    rule: PropagationRule = DEFAULT_RULE,
    go_on: Callable[[], bool] = lambda: True,
    memory: StepMemory = NO_MEMORY,
) -> list[Propagation]:
    """Follow several structures, each as `propagate` does; their walks take turns.

    Prompted slices are answered first, then each walk goes a slice further, round after round: when
    time is up, what is ready lies around every prompt.

    Args:
        slices: the volume and the model.
        structures: at least one prompted slice of each.
        rule: how masks are carried on, and when not.
        go_on: asked before each slice, but for prompted ones and for those in the memory.
        memory: of slices answered earlier, for this volume, window and model.

    Raises:
        PromptError: nothing is asked for, or a prompt lies off its slice.
        GeometryError: a prompted slice does not exist.
    """
    for seeds in structures:
        _require_seeds(sorted(seeds.prompts), slices.count)
    begun = [
        _begin(Ground(slices, rule, seeds.negative_xy, go_on, memory), seeds)
        for seeds in structures
    ]
    walkers = [walker for one in begun for walker in one.walkers]
    while walkers:
        walkers = [walker for walker in walkers if walker.advance()]
    return [_finish(one) for one in begun]


@dataclass(frozen=True, slots=True, eq=False)
class _Begun:
    """The prompted slices of a structure, and the walks that leave them."""

    starts: Mapping[int, PropagatedSlice]
    walkers: tuple[Walker, ...]


def _begin(ground: Ground, seeds: Seeds) -> _Begun:
    prompted = sorted(seeds.prompts)
    starts = {index: start_on(ground, index, seeds.prompts[index]) for index in prompted}
    bounds = [-1, *prompted, ground.slices.count]
    walkers = tuple(
        Walker(ground, starts[seed], direction, stop)
        for low, seed, high in zip(bounds, prompted, bounds[2:], strict=False)
        for direction, stop in ((-1, low), (1, high))
    )
    return _Begun({index: start.found for index, start in starts.items()}, walkers)


def _finish(begun: _Begun) -> Propagation:
    """What all walks of a structure found, as one."""
    found = dict(begun.starts)
    for walker in begun.walkers:
        for one in walker.found:
            other = found.get(one.index)
            found[one.index] = one if other is None else reconcile(one, other)
    filled = {index: one for index, one in sorted(found.items()) if one.mask.any()}
    return Propagation(filled, tuple(walker.end for walker in begun.walkers if walker.end))


def reconcile(one: PropagatedSlice, other: PropagatedSlice) -> PropagatedSlice:
    """Two walks' answers on one slice: their logits averaged, the nearer prompt counting more."""
    total = one.distance_mm + other.distance_mm
    share = np.float32(other.distance_mm / total if total else 0.5)
    logits = share * one.logits + (1 - share) * other.logits
    return PropagatedSlice(
        index=one.index,
        mask=logits > 0,
        logits=logits,
        predicted_iou=float(share * one.predicted_iou + (1 - share) * other.predicted_iou),
        likeness=float(share * one.likeness + (1 - share) * other.likeness),
        agreement=mask_iou(one.mask, other.mask),
        distance_mm=min(one.distance_mm, other.distance_mm),
    )


def _require_seeds(prompted: Sequence[int], count: int) -> None:
    """Refuse what no walk could begin on."""
    if not prompted:
        raise PromptError(
            "Nothing to propagate: give a box or a positive click on at least one slice."
        )
    outside = [index for index in prompted if not 0 <= index < count]
    if outside:
        raise GeometryError(
            f"Prompted slice {outside[0]} does not exist; the volume has slices 0 to {count - 1} "
            "along this axis."
        )
