"""Slices to learn from, in an order that depends on seed and epoch alone."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from cobot.errors import ConfigError
from cobot.intensity import IntensityWindow
from cobot.planes import Slice
from cobot.prompts import tight_box
from cobot.shapes import BoxXyxy, Mask
from cobot.training.corrections import Correction
from cobot.training.slice_cache import CaseIndex, SliceCache
from cobot.training.slice_choice import AbsentObject


@dataclass(frozen=True, slots=True)
class SliceSample:
    """One slice in one window, by reference.

    Attributes:
        correction: the case.
        rank: position among the case's chosen slices.
        window: as the task writes it.
        present: values of structures on it that are shown in this window.
        absent: structures to be answered with nothing.
    """

    correction: Correction
    rank: int
    window: str
    present: tuple[int, ...]
    absent: tuple[AbsentObject, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SliceObject:
    """A structure that is asked for on a slice.

    Attributes:
        value: its label value.
        mask: the answer; empty for an absent structure.
        box_xyxy: tight around the mask, or the box that wrongly asks for it.
    """

    value: int
    mask: Mask
    box_xyxy: BoxXyxy


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSlice:
    """A slice with what is asked on it.

    Attributes:
        slice_: the picture.
        window: black to white.
        objects: present ones, then absent ones.
        known: values that were drawn somewhere in the case and are shown in this window.
        where: names case and slice, for messages.
    """

    slice_: Slice
    window: IntensityWindow
    objects: tuple[SliceObject, ...]
    known: frozenset[int]
    where: str


@final
class SliceDataset:
    """The slices of some cases; pixels are read when asked for, and not kept.

    Attributes:
        samples: every slice in every window that shows something of it.
    """

    def __init__(
        self,
        cache: SliceCache,
        corrections: Sequence[Correction],
        groups: Mapping[str, tuple[int, ...]],
    ) -> None:
        """List the samples, decoding cases that are not in the cache.

        Args:
            cache: where slices are.
            corrections: the cases.
            groups: window to the values shown in it.

        Raises:
            ConfigError: no slice carries a label.
        """
        self._cache = cache
        self._groups = groups
        self._indices: dict[Correction, CaseIndex] = {one: cache.index(one) for one in corrections}
        self.samples = tuple(
            sample
            for correction, index in self._indices.items()
            for sample in _samples(correction, index, groups)
        )
        if not any(sample.present for sample in self.samples):
            raise ConfigError(
                f"None of {len(corrections)} labelled volumes has a voxel of the task's labels; "
                "check the label files and the values of --dataset."
            )

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def corrections(self) -> tuple[Correction, ...]:
        """The cases."""
        return tuple(self._indices)

    @property
    def image_hashes(self) -> tuple[str, ...]:
        """SHA-256 of each image, sorted."""
        return tuple(sorted(index.image_sha256 for index in self._indices.values()))

    def thinned(self, count: int) -> "SliceDataset":
        """The same cases with so many of the samples, drawn by chance, always the same; 0: all."""
        if not 0 < count < len(self):
            return self
        kept = np.random.default_rng(0).choice(len(self), count, replace=False)
        other = copy.copy(self)
        other.samples = tuple(self.samples[index] for index in sorted(kept.tolist()))
        return other

    def case_samples(self, correction: Correction) -> list[SliceSample]:
        """Those of one case, in the order of its slices."""
        return [sample for sample in self.samples if sample.correction == correction]

    def epoch_order(self, seed: int, epoch: int, multiple: int) -> list[int]:
        """Every sample once, in random order, and the first ones again to fill the last batch.

        Args:
            seed: of the training.
            epoch: from 0.
            multiple: of which the length is: the batch size.
        """
        order = np.random.default_rng([seed, epoch]).permutation(len(self)).tolist()
        missing = -len(order) % multiple
        return [*order, *(order * (missing // len(order) + 1))[:missing]]

    def read(self, sample: SliceSample) -> LabelledSlice:
        """The slice itself."""
        index = self._indices[sample.correction]
        pixels, labels = self._cache.pictures(sample.correction, sample.rank)
        number = index.slices[sample.rank].index
        present = [(value, labels == value) for value in sample.present]
        objects = [SliceObject(value, mask, tight_box(mask)) for value, mask in present]
        nothing = np.zeros(labels.shape, bool)
        objects += [
            SliceObject(one.value, nothing, np.array(one.box_xyxy)) for one in sample.absent
        ]
        return LabelledSlice(
            slice_=Slice(pixels, index.plane, number, index.spacing_mm),
            window=index.windows[sample.window],
            objects=tuple(objects),
            known=index.drawn & frozenset(self._groups[sample.window]),
            where=f"case {index.case!r}, slice {number}",
        )


def _samples(
    correction: Correction, index: CaseIndex, groups: Mapping[str, tuple[int, ...]]
) -> list[SliceSample]:
    found = []
    for rank, chosen in enumerate(index.slices):
        for window, values in groups.items():
            present = tuple(value for value in chosen.present if value in values)
            absent = tuple(one for one in chosen.absent if one.value in values)
            if present or absent:
                found.append(SliceSample(correction, rank, window, present, absent))
    return found
