"""What turns an annotator's prompts into masks: a model in 2D or 3D, or something trivial."""

from collections.abc import Mapping
from typing import Protocol, final, runtime_checkable

import numpy as np

from cobot.propagate import DEFAULT_RULE, Seeds, propagate_together
from cobot.propagate_slices import AnsweringSlices, Question
from cobot.propagate_walk import Step
from cobot.shapes import Mask
from cobot.training.baseline import ellipse_in_box
from cobot.training.shape_interpolation import interpolate_shapes
from cobot.training.simulated_annotator import AskedSlice


@runtime_checkable
class AnnotationTool(Protocol):
    """Answers after every prompt."""

    def answer(self, asked: Mapping[int, AskedSlice], index: int) -> dict[int, Mask]:
        """The structure on every slice where it is found.

        Args:
            asked: slice index to all prompts so far.
            index: the slice of the last prompt.
        """
        ...


@final
class SliceBySlice:
    """A model that answers on the prompted slice, and nowhere else."""

    def __init__(self, slices: AnsweringSlices) -> None:
        """Use the slices of a volume."""
        self._slices = slices
        self._masks: dict[int, Mask] = {}

    def answer(self, asked: Mapping[int, AskedSlice], index: int) -> dict[int, Mask]:
        """As `AnnotationTool`: all prompts of one slice are asked together."""
        prompts = asked[index].prompts
        if prompts is None:
            self._masks[index] = np.zeros(self._slices.picture(index).shape, bool)
        else:
            (found,) = self._slices.answer(index, [Question(prompts)])
            self._masks[index] = found.mask
        return dict(self._masks)


@final
class ThroughTheVolume:
    """A model whose answers are carried on from every prompted slice; steps are remembered."""

    def __init__(self, slices: AnsweringSlices) -> None:
        """Use the slices of a volume."""
        self._slices = slices
        self._memory = _Steps()

    def answer(self, asked: Mapping[int, AskedSlice], index: int) -> dict[int, Mask]:
        """As `AnnotationTool`: negative clicks alone act where a walk passes their slice."""
        prompts = {at: given for at, one in asked.items() if (given := one.prompts) is not None}
        negative = {at: one.points_xy for at, one in asked.items() if one.prompts is None}
        (found,) = propagate_together(
            self._slices, [Seeds(prompts, negative)], DEFAULT_RULE, memory=self._memory
        )
        return found.masks


@final
class EllipseInBox:
    """No model: the ellipse in each box."""

    def __init__(self, shape: tuple[int, int]) -> None:
        """Take rows and columns of a slice."""
        self._shape = shape

    def answer(self, asked: Mapping[int, AskedSlice], index: int) -> dict[int, Mask]:
        """As `AnnotationTool`."""
        return {
            at: np.zeros(self._shape, bool)
            if one.box_xyxy is None
            else ellipse_in_box(one.box_xyxy, self._shape)
            for at, one in asked.items()
        }


@final
class DrawnByHand:
    """No model: the true outline on each prompted slice, which takes a person far longer."""

    def __init__(self, truth: Mapping[int, Mask]) -> None:
        """Take slice index to the true pixels."""
        self._truth = truth
        self._nothing = np.zeros_like(next(iter(truth.values())))

    def answer(self, asked: Mapping[int, AskedSlice], index: int) -> dict[int, Mask]:
        """As `AnnotationTool`."""
        return {at: self._truth.get(at, self._nothing) for at in asked}


@final
class FilledBetween:
    """Another tool's slices, with the shapes between them interpolated."""

    def __init__(self, drawn: AnnotationTool, pixel_mm: tuple[float, float]) -> None:
        """Take the tool, and the distance of pixel centres (rows, columns)."""
        self._drawn = drawn
        self._pixel_mm = pixel_mm

    def answer(self, asked: Mapping[int, AskedSlice], index: int) -> dict[int, Mask]:
        """As `AnnotationTool`."""
        return interpolate_shapes(self._drawn.answer(asked, index), self._pixel_mm)


@final
class _Steps:
    """Remembers every step of one structure of one volume."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}

    def recall(self, key: str) -> Step | None:
        """As `StepMemory`."""
        return self._steps.get(key)

    def keep(self, key: str, step: Step) -> None:
        """As `StepMemory`."""
        self._steps[key] = step
