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
from jaxtyping import Float32, Float64

from cobot.errors import GeometryError, PromptError
from cobot.planes import Plane
from cobot.prompts import ObjectPrompts, Prompts, tight_box
from cobot.propagate_rule import (
    PropagationRule,
    StopReason,
    connected_parts,
    deepest_point,
    grey_profile,
    likeness,
    mask_iou,
    widened_box,
    without_strays,
)
from cobot.propagate_slices import AnsweringSlices, Question
from cobot.sam.answer import SliceMask
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
class PropagatedSlice:
    """The structure on one slice.

    Attributes:
        index: of the slice.
        mask: its pixels.
        logits: above 0 in the mask, and nowhere else.
        predicted_iou: the decoder's own guess; of several parts the mean by area.
        likeness: of its grey values to those on the prompted slice.
        agreement: IoU of the two walks' answers where two cross; elsewhere 1.
        distance_mm: to the nearest prompted slice it came from.
    """

    index: int
    mask: Mask
    logits: Float32[np.ndarray, "row col"]
    predicted_iou: float
    likeness: float
    agreement: float
    distance_mm: float

    @property
    def confidence(self) -> float:
        """0 to 1: predicted IoU (clipped) x likeness x agreement; low where a look is worth it."""
        return float(np.clip(self.predicted_iou, 0, 1)) * self.likeness * self.agreement


@dataclass(frozen=True, slots=True)
class WalkEnd:
    """Where and why a walk ended.

    Attributes:
        seed: the prompted slice it began on.
        direction: +1 or -1 along the axis.
        index: the first slice without a mask; may lie just outside the volume.
        reason: "edge" of the volume or the next prompted slice, "reach", "empty" mask, "unsure"
            (predicted IoU), "unlike" (grey values), "apart" (overlap), or "jump" (area); "time" is
            the caller's own wish.
    """

    seed: int
    direction: int
    index: int
    reason: StopReason


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
    prompted = sorted(seeds.prompts)
    _require_seeds(prompted, slices.count)
    starts = {index: start_on(slices, index, seeds.prompts[index]) for index in prompted}
    bounds = [-1, *prompted, slices.count]
    walks = []
    for low, seed, high in zip(bounds, prompted, bounds[2:], strict=False):
        for direction, stop in ((-1, low), (1, high)):
            walker = Walker(slices, rule, seeds.negative_xy, go_on)
            walks.append(walker.walk(starts[seed], direction, stop))
    found = dict(starts)
    for walk in walks:
        for one in walk.slices:
            other = found.get(one.index)
            found[one.index] = one if other is None else reconcile(one, other)
    filled = {index: one for index, one in sorted(found.items()) if one.mask.any()}
    return Propagation(filled, tuple(walk.end for walk in walks))


def start_on(slices: AnsweringSlices, index: int, prompts: Prompts) -> PropagatedSlice:
    """The structure on a prompted slice."""
    (answer,) = slices.answer(index, [Question(prompts)])
    return PropagatedSlice(index, answer.mask, answer.logits, answer.predicted_iou, 1.0, 1.0, 0.0)


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


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """What one walk found, in its order, and how it ended."""

    slices: tuple[PropagatedSlice, ...]
    end: WalkEnd


@dataclass(frozen=True, slots=True)
class FollowedPart:
    """One connected part on the next slice, and how like the prompted slice's its greys are."""

    answer: SliceMask
    likeness: float


@dataclass(frozen=True, slots=True, eq=False)
class Walker:
    """Goes from slice to slice; a walk depends on its beginning and on nothing else.

    Attributes:
        slices: the volume and the model.
        rule: how masks are carried on, and when not.
        negative_xy: slice index to negative clicks.
        go_on: asked before each slice.
    """

    slices: AnsweringSlices
    rule: PropagationRule
    negative_xy: Mapping[int, PointsXy]
    go_on: Callable[[], bool]

    def walk(self, start: PropagatedSlice, direction: int, stop: int) -> Walk:
        """Walk until the rule says no, or up to a slice that is not entered.

        Args:
            start: where to begin.
            direction: +1 or -1 along the axis.
            stop: the next prompted slice, or the first index outside the volume.
        """
        found: list[PropagatedSlice] = []
        profile = grey_profile(self.slices.picture(start.index), start.mask)
        last, index = start, start.index
        reason: StopReason = "edge"
        for index in range(start.index + direction, stop + direction, direction):
            if index == stop:
                break
            step = self._step(last, index, profile) if self.go_on() else "time"
            if isinstance(step, str):
                reason = step
                break
            found.append(step)
            last = step
        return Walk(tuple(found), WalkEnd(start.index, direction, index, reason))

    def _step(
        self, last: PropagatedSlice, index: int, profile: Float64[np.ndarray, " bins"]
    ) -> PropagatedSlice | StopReason:
        """The structure on the next slice, or why it is not there."""
        distance_mm = last.distance_mm + self.slices.step_mm
        if distance_mm > self.rule.reach_mm:
            return "reach"
        parts = connected_parts(last.mask, self.rule.smallest_share)
        if not parts:
            return "empty"
        answers = self.slices.answer(index, [self._question(part, index) for part in parts])
        unit, step_mm = self.slices.picture(index), self.slices.step_mm
        kept: list[FollowedPart] = []
        reasons: list[StopReason] = []
        for given, part in zip(answers, parts, strict=True):
            answer = without_strays(given, part)
            alike = likeness(grey_profile(unit, answer.mask), profile)
            why = self.rule.refusal(answer, part, alike, step_mm)
            if why is None:
                kept.append(FollowedPart(answer, alike))
            else:
                reasons.append(why)
        # Parts come largest first, so the first reason is that of most of the structure.
        return _joined(kept, index, distance_mm) if kept else reasons[0]

    def _question(self, part: Mask, index: int) -> Question:
        """What a part of the last mask asks on the next slice."""
        row_mm, col_mm = self.slices.pixel_mm
        by_mm = self.rule.widening * self.slices.step_mm
        shape = (part.shape[0], part.shape[1])
        box = widened_box(tight_box(part), (by_mm / col_mm, by_mm / row_mm), shape)
        points = self.negative_xy.get(index, np.empty((0, 2)))
        positive = np.zeros(len(points), bool)
        if self.rule.next_prompt == "box+point":
            points = np.concatenate([deepest_point(part), points])
            positive = np.concatenate([[True], positive])
        last_mask = part if self.rule.next_prompt == "box+mask" else None
        return Question(Prompts(points, positive, box), last_mask)


def _joined(parts: Sequence[FollowedPart], index: int, distance_mm: float) -> PropagatedSlice:
    """The parts of a structure as one; what is known of them is averaged by area."""
    masks = [one.answer.mask for one in parts]
    areas = [float(mask.sum()) for mask in masks]
    return PropagatedSlice(
        index=index,
        mask=np.logical_or.reduce(masks),
        logits=np.maximum.reduce([one.answer.logits for one in parts]),
        predicted_iou=float(np.average([one.answer.predicted_iou for one in parts], weights=areas)),
        likeness=float(np.average([one.likeness for one in parts], weights=areas)),
        agreement=1.0,
        distance_mm=distance_mm,
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
