"""One walk from a prompted slice: slice after slice in one direction, until a rule ends it.

A step depends on the prompted slice, the direction, the rule, and the negative clicks met on the
way, and on nothing else. Each has a key made of exactly these, so that steps may be remembered: a
walk asked for again goes over the steps that are known and computes from there on.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64

from cobot.prompts import Prompts, tight_box
from cobot.propagate_rule import (
    PropagationRule,
    StopReason,
    connected_parts,
    deepest_point,
    grey_profile,
    likeness,
    widened_box,
    without_strays,
)
from cobot.propagate_slices import AnsweringSlices, Question
from cobot.sam.answer import SliceMask
from cobot.shapes import Mask, PointsXy


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


Step = PropagatedSlice | StopReason
"""The structure on the next slice, or why it is not there."""


@runtime_checkable
class StepMemory(Protocol):
    """Keeps steps of one volume, seen through one window by one model."""

    def recall(self, key: str) -> Step | None:
        """What was kept under a key, if it still is."""
        ...

    def keep(self, key: str, step: Step) -> None:
        """Keep a step for as long as there is room."""
        ...


@final
class NoMemory:
    """Forgets every step."""

    def recall(self, key: str) -> Step | None:
        """As `StepMemory`: nothing."""
        return None

    def keep(self, key: str, step: Step) -> None:
        """As `StepMemory`: not at all."""


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What all walks of one structure go over.

    Attributes:
        slices: the volume and the model.
        rule: how masks are carried on, and when not.
        negative_xy: slice index to negative clicks.
        go_on: asked before each slice that has to be computed.
        memory: of slices and steps.
    """

    slices: AnsweringSlices
    rule: PropagationRule
    negative_xy: Mapping[int, PointsXy]
    go_on: Callable[[], bool]
    memory: StepMemory


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A prompted slice, answered; and what its answer depends on, as a key."""

    found: PropagatedSlice
    key: str


def start_on(ground: Ground, index: int, prompts: Prompts) -> Start:
    """Answer a prompted slice, or remember its answer."""
    key = _key("start", index, *_content(prompts))
    known = ground.memory.recall(key)
    if isinstance(known, PropagatedSlice):
        return Start(known, key)
    (answer,) = ground.slices.answer(index, [Question(prompts)])
    found = PropagatedSlice(index, answer.mask, answer.logits, answer.predicted_iou, 1.0, 1.0, 0.0)
    ground.memory.keep(key, found)
    return Start(found, key)


@final
class Walker:
    """Goes one slice at a time, so that several walks can take turns."""

    def __init__(self, ground: Ground, start: Start, direction: int, stop: int) -> None:
        """Stand on a prompted slice.

        Args:
            ground: what is walked over.
            start: where to begin.
            direction: +1 or -1 along the axis.
            stop: the next prompted slice, or the first index outside the volume; not entered.
        """
        self.found: list[PropagatedSlice] = []
        self.end: WalkEnd | None = None
        self._ground = ground
        self._start, self._direction, self._stop = start.found, direction, stop
        self._key = _key("walk", direction, start.key, ground.rule)
        self._last = start.found
        self._profile: Float64[np.ndarray, " bins"] | None = None

    def advance(self) -> bool:
        """Go to the next slice; False if the walk has ended."""
        if self.end is not None:
            return False
        index = self._last.index + self._direction
        step: Step = "edge" if index == self._stop else self._step(index)
        if isinstance(step, str):
            self.end = WalkEnd(self._start.index, self._direction, index, step)
            return False
        self.found.append(step)
        self._last = step
        return True

    def _step(self, index: int) -> Step:
        """A step that is remembered, or else is computed if there is time."""
        negative = self._ground.negative_xy.get(index)
        self._key = _key(self._key, index, b"" if negative is None else negative.tobytes())
        known = self._ground.memory.recall(self._key)
        if known is not None:
            return known
        if not self._ground.go_on():
            return "time"
        if self._profile is None:
            unit = self._ground.slices.picture(self._start.index)
            self._profile = grey_profile(unit, self._start.mask)
        step = _step(self._ground, self._last, index, self._profile)
        self._ground.memory.keep(self._key, step)
        return step


@dataclass(frozen=True, slots=True)
class FollowedPart:
    """One connected part on the next slice, and how like the prompted slice's its greys are."""

    answer: SliceMask
    likeness: float


def _step(
    ground: Ground, last: PropagatedSlice, index: int, profile: Float64[np.ndarray, " bins"]
) -> Step:
    """The structure on the next slice, or why it is not there."""
    slices, rule = ground.slices, ground.rule
    distance_mm = last.distance_mm + slices.step_mm
    if distance_mm > rule.reach_mm:
        return "reach"
    parts = connected_parts(last.mask, rule.smallest_share)
    if not parts:
        return "empty"
    unit = slices.picture(index)
    kept: list[FollowedPart] = []
    reasons: list[StopReason] = []
    for answer, part in zip(_answers(ground, parts, index), parts, strict=True):
        alike = likeness(grey_profile(unit, answer.mask), profile)
        why = rule.refusal(answer, part, alike, slices.step_mm)
        if why is None:
            kept.append(FollowedPart(answer, alike))
        else:
            reasons.append(why)
    # Parts come largest first, so the first reason is that of most of the structure.
    return _joined(kept, index, distance_mm) if kept else reasons[0]


def _answers(ground: Ground, parts: Sequence[Mask], index: int) -> list[SliceMask]:
    """What each part of the last mask becomes on the next slice, strays removed."""
    asking, found = parts, list[SliceMask]()
    for _ in range(ground.rule.looks):
        given = ground.slices.answer(index, [_question(ground, one, index) for one in asking])
        found = [without_strays(one, part) for one, part in zip(given, parts, strict=True)]
        asking = [
            one.mask if one.mask.any() else before
            for one, before in zip(found, asking, strict=True)
        ]
    return found


def _question(ground: Ground, part: Mask, index: int) -> Question:
    """What a part of the last mask asks on the next slice."""
    slices, rule = ground.slices, ground.rule
    row_mm, col_mm = slices.pixel_mm
    by_mm = rule.widening * slices.step_mm
    shape = (part.shape[0], part.shape[1])
    box = widened_box(tight_box(part), (by_mm / col_mm, by_mm / row_mm), shape)
    points = ground.negative_xy.get(index, np.empty((0, 2)))
    positive = np.zeros(len(points), bool)
    if rule.next_prompt == "box+point":
        points = np.concatenate([deepest_point(part), points])
        positive = np.concatenate([[True], positive])
    last_mask = part if rule.next_prompt == "box+mask" else None
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


def _content(prompts: Prompts) -> tuple[object, ...]:
    """Everything a slice's answer depends on."""
    box, logits = prompts.box_xyxy, prompts.mask_logits
    return (
        prompts.points_xy.tobytes(),
        prompts.positive.tobytes(),
        None if box is None else box.tobytes(),
        None if logits is None else logits.tobytes(),
    )


def _key(*parts: object) -> str:
    """One name for values whose text tells them apart."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
