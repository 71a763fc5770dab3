"""Answers clicks with whole structures: every prompted slice followed through the volume."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from cobot.intensity import IntensityWindow
from cobot.planes import plane_across
from cobot.prompts import ObjectPrompts
from cobot.propagate import DEFAULT_RULE, Propagation, Seeds, propagate_together
from cobot.propagate_rule import PropagationRule
from cobot.propagate_slices import Spent, VolumeSlices
from cobot.propagate_walk import Step
from cobot.server.engine import K_AXIS, SliceEngine, Stopwatch
from cobot.server.lru import Lru
from cobot.server.study import Study
from cobot.server.volume_merge import merge_structures
from cobot.volume import LabelMap

STEP_BYTES = 512 * 2**20
"""Of slices remembered: 400 of 512 x 512 pixels, or 3400 of 192 x 160."""


@dataclass(frozen=True, slots=True)
class VolumeAnswer:
    """What one request for whole structures brought.

    Attributes:
        label_map: the volume's grid; values count from 1 over the structures that were found.
        structures: name to what was found of it, also of those that were not.
        prompted: name to the slices that its prompts lie on.
        window: the window the volume was seen through.
        spent: slices encoded and answered for this request, and the seconds they took.
        seconds: time spent, by step.
        adapter: the version that answered; None is the base alone.
        trouble: why that is not the version it should be, in a sentence; empty if it is.
        precision: of the encoder: fp32 or bf16.
    """

    label_map: LabelMap
    structures: Mapping[str, Propagation]
    prompted: Mapping[str, tuple[int, ...]]
    window: IntensityWindow
    spent: Spent
    seconds: Mapping[str, float]
    adapter: str | None
    trouble: str
    precision: str


@dataclass(frozen=True, slots=True, eq=False)
class _BoundMemory:
    """The part of the remembered steps that belongs to one volume, window and model."""

    steps: Lru[tuple[object, ...], Step]
    about: tuple[object, ...]

    def recall(self, key: str) -> Step | None:
        """As `StepMemory`."""
        return self.steps.get((*self.about, key))

    def keep(self, key: str, step: Step) -> None:
        """As `StepMemory`."""
        self.steps.put((*self.about, key), step)


@final
class VolumeEngine:
    """Follows structures through the volumes of a `SliceEngine`, with its model and its embeddings.

    It keeps no state of an annotator: a request holds every prompt, and what is remembered is found
    by everything it depends on (the file, the window, the model and its adapter, the prompted
    slice, the rule, the negative clicks on the way). So a click is answered from what is known but
    for the slices it can change, and a deleted click leaves no trace.
    """

    def __init__(
        self,
        slices: SliceEngine,
        step_bytes: int = STEP_BYTES,
        rule: PropagationRule = DEFAULT_RULE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Share a slice engine.

        Args:
            slices: whose studies, model, windows and embeddings are used.
            step_bytes: the most that remembered slices may take.
            rule: how masks are carried on, and when not.
            clock: seconds, for the time cap.
        """
        self.slices = slices
        self._steps = Lru[tuple[object, ...], Step](step_bytes, _weigh)
        self._rule = rule
        self._clock = clock

    def segment(
        self, study: Study, targets: Sequence[ObjectPrompts], window_text: str, time_cap_s: float
    ) -> VolumeAnswer:
        """Segment structures on every slice across k.

        Args:
            study: the volume.
            targets: one for each structure.
            window_text: how the volume is to be seen.
            time_cap_s: for everything but prompted slices, which are always answered; counted from
                when study and model are ready.

        Raises:
            WindowError: the window is unknown or does not fit the volume.
            PromptError: a structure has nothing to begin with, or a prompt lies outside.
            WeightsError: the model's weights are missing or damaged.
            AdapterError: the version that the user named cannot be used.
        """
        watch = Stopwatch()
        with watch.step("window"):
            window = self.slices.window(study, window_text)
        with watch.step("model"):
            in_use = self.slices.in_use()
        segmenter, volume = in_use.segmenter, study.volume
        plane = plane_across(volume.affine, K_AXIS)
        seeds = {target.label: Seeds.of(target, volume, plane) for target in targets}
        slices = VolumeSlices(
            volume, plane, window, segmenter, self.slices.embeddings, str(study.stamp)
        )
        about = (study.stamp, window.lower, window.upper, segmenter.embedding_key)
        end = self._clock() + time_cap_s
        with watch.step("propagate"), self.slices.embeddings.requests_first():
            found = propagate_together(
                slices,
                list(seeds.values()),
                self._rule,
                lambda: self._clock() < end,
                _BoundMemory(self._steps, about),
            )
        structures = dict(zip(seeds, found, strict=True))
        with watch.step("merge"):
            label_map = merge_structures(structures, seeds, plane, volume)
        return VolumeAnswer(
            label_map=label_map,
            structures=structures,
            prompted={name: tuple(sorted(one.prompts)) for name, one in seeds.items()},
            window=window,
            spent=slices.spent,
            seconds=_by_stage(watch.seconds, slices.spent),
            adapter=in_use.adapter,
            trouble=in_use.trouble,
            precision=segmenter.precision,
        )


def _by_stage(seconds: Mapping[str, float], spent: Spent) -> dict[str, float]:
    """The time of propagation, taken apart: encoder, decoder, and all between them."""
    whole = seconds["propagate"]
    parts = {"encode": spent.encode_s, "decode": spent.decode_s}
    rest = max(whole - spent.encode_s - spent.decode_s, 0.0)
    return {
        "window": seconds["window"],
        "model": seconds["model"],
        **{name: round(value, 4) for name, value in parts.items()},
        "follow": round(rest, 4),
        "merge": seconds["merge"],
    }


def _weigh(step: Step) -> int:
    return 100 if isinstance(step, str) else step.mask.nbytes + step.logits.nbytes
