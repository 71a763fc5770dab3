"""What is asked of each slice of a volume: from a file of prompts, or from coarse masks."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int64

from cobot.batch.fingerprint import image_files, take_fingerprint
from cobot.batch.inputs import InputCase
from cobot.batch.label_choice import LabelChoice
from cobot.batch.partners import PartnerFiles
from cobot.batch.prompt_file import ANY_CASE, CasePrompts, ObjectPrompt, PromptFile, Space
from cobot.batch.settings import Axis
from cobot.errors import GridMismatchError, PromptError
from cobot.geometry import ijk_from_ras
from cobot.io import read_label_map
from cobot.io.label_names import check_names
from cobot.planes import Plane, acquired_plane, plane_across
from cobot.prompts import ObjectPrompts, Prompts, tight_box
from cobot.shapes import Affine, BoxIjk
from cobot.slicing import cut_slice, slice_volume
from cobot.volume import Volume


@dataclass(frozen=True, slots=True)
class AskedSlices:
    """What is asked of a volume.

    Attributes:
        slices: slice index to (label, prompts); a label may come several times on a slice, once
            for each of its boxes: it then gets what any of them finds.
        labels: value in the mask to name.
    """

    slices: Mapping[int, Sequence[tuple[str, Prompts]]]
    labels: Mapping[int, str]


@runtime_checkable
class PromptSource(Protocol):
    """Something that knows what to ask of each case."""

    def describe(self) -> str:
        """Where the prompts come from, in a few words."""
        ...

    def digest(self, case: InputCase) -> str:
        """The checksum of what is asked of a case; it changes when the answer may.

        Raises:
            PromptError: nothing is asked of it, with the cure.
            ImageReadError: a coarse mask cannot be read.
        """
        ...

    def plane(self, affine: Affine, axis: Axis) -> Plane:
        """How volumes are cut for these prompts; `axis` is as the user names it."""
        ...

    def ask(self, case: InputCase, volume: Volume, plane: Plane) -> AskedSlices:
        """What is asked of a case's slices.

        Raises:
            PromptError: nothing is asked of it, or a prompt lies outside the volume.
            GridMismatchError: a coarse mask is on another grid.
            ImageReadError: a coarse mask cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class FilePrompts:
    """Prompts from a file, or boxes from the command line.

    Attributes:
        file: the prompts.
        name: what they are called in provenance.
        choice: labels wanted.
    """

    file: PromptFile
    name: str
    choice: LabelChoice = LabelChoice()

    def describe(self) -> str:
        """The file's name."""
        return self.name

    def digest(self, case: InputCase) -> str:
        """Of the case's own prompts: a change of another case's leaves it."""
        wanted = self._of(case)
        space = wanted.space or self.file.space
        text = f"{space}|{wanted.model_dump_json()}|{sorted(self._labels().items())}"
        return hashlib.sha256(text.encode()).hexdigest()

    def plane(self, affine: Affine, axis: Axis) -> Plane:
        """Across the axis that the user names."""
        return cut_across(affine, axis)

    def ask(self, case: InputCase, volume: Volume, plane: Plane) -> AskedSlices:
        """Boxes and points on the slices they lie on."""
        labels = self._labels()
        wanted = self._of(case)
        space = wanted.space or self.file.space
        slices: dict[int, list[tuple[str, Prompts]]] = {}
        for target in wanted.objects:
            if target.label not in labels.values():
                continue
            for piece in _pieces(target, space, volume, plane):
                for index in _touched(piece, plane):
                    found = piece.on_slice(cut_slice(volume, plane, index))
                    if found is not None:
                        slices.setdefault(index, []).append((target.label, found))
        return AskedSlices(dict(sorted(slices.items())), labels)

    def _of(self, case: InputCase) -> CasePrompts:
        for name in (case.relative, case.path.name, case.name, ANY_CASE):
            if name in self.file.cases:
                return self.file.cases[name]
        raise PromptError(
            f"{self.name} has no prompts for {case.relative}; add an entry {case.relative!r}, or "
            'an entry "*" for every image without one.'
        )

    def _labels(self) -> dict[int, str]:
        known = self.file.values()
        self.choice.require_known(known)
        return self.choice.among(known)


@dataclass(frozen=True, slots=True)
class MaskPrompts:
    """On each slice, a box around each structure of a coarse mask.

    Attributes:
        masks: where the masks lie.
        choice: labels wanted.
    """

    masks: PartnerFiles
    choice: LabelChoice = LabelChoice()

    def describe(self) -> str:
        """The folder's name."""
        return f"masks in {self.masks.folder.name}"

    def digest(self, case: InputCase) -> str:
        """Of the mask's files: a header's voxels may lie beside it."""
        contents = take_fingerprint(image_files(self._mask(case))).sha256
        return hashlib.sha256(f"{contents}|{self.choice}".encode()).hexdigest()

    def plane(self, affine: Affine, axis: Axis) -> Plane:
        """Across the axis that the user names."""
        return cut_across(affine, axis)

    def ask(self, case: InputCase, volume: Volume, plane: Plane) -> AskedSlices:
        """A tight box for each structure on each slice that holds it."""
        path = self._mask(case)
        try:
            coarse = read_label_map(path).on_grid_of(volume)
        except GridMismatchError as error:
            raise GridMismatchError(f"--prompts-from {path}: {error}") from None
        labels = self.choice.among(coarse.labels)
        check_names(labels, path)
        return AskedSlices(
            {
                slice_.index: found
                for slice_ in slice_volume(volume.with_voxels(coarse.voxels), plane)
                if (
                    found := [
                        (name, Prompts(box_xyxy=tight_box(slice_.pixels == value)))
                        for value, name in labels.items()
                        if (slice_.pixels == value).any()
                    ]
                )
            },
            labels,
        )

    def _mask(self, case: InputCase) -> Path:
        path = self.masks.of(case.path, case.relative)
        if path is None:
            raise PromptError(
                f"--prompts-from {self.masks.folder} holds no mask for {case.relative}; expected a "
                f"file such as {self.masks.expected(case.relative)}."
            )
        return path


def cut_across(affine: Affine, axis: Axis) -> Plane:
    """The plane for an axis as a user names it."""
    return acquired_plane(affine) if axis == "auto" else plane_across(affine, "ijk".index(axis))


def _pieces(
    target: ObjectPrompt, space: Space, volume: Volume, plane: Plane
) -> list[ObjectPrompts]:
    """An object for each box; the points go with the box, or stand alone without one.

    Raises:
        PromptError: outside the volume, or points on a slice with several boxes.
    """
    ijk = _indices(np.array([point.at for point in target.points]).reshape(-1, 3), space, volume)
    positive = np.array([point.positive for point in target.points], bool)
    boxes = [_box(box, space, volume) for box in target.boxes]
    pieces: list[ObjectPrompts] = []
    taken = np.zeros(len(ijk), bool)
    for box in boxes:
        here = (box[0, plane.axis] <= ijk[:, plane.axis]) & (
            ijk[:, plane.axis] <= box[1, plane.axis]
        )
        if (here & taken).any():
            raise PromptError(
                f"{target.label!r} has a point at ijk {ijk[here & taken][0].tolist()} and several "
                "boxes on its slice, so it is not clear which box it corrects; give the parts "
                "labels of their own, or leave the point out."
            )
        taken |= here
        pieces.append(ObjectPrompts(target.label, ijk[here], positive[here], box))
    if (~taken).any():
        pieces.append(ObjectPrompts(target.label, ijk[~taken], positive[~taken]))
    for piece in pieces:
        piece.require_inside(volume)
    return pieces


def _touched(piece: ObjectPrompts, plane: Plane) -> list[int]:
    """The slices that a piece has prompts on."""
    points = set(piece.points_ijk[:, plane.axis].tolist())
    if piece.box_ijk is not None:
        first, last = piece.box_ijk[:, plane.axis].tolist()
        points |= set(range(first, last + 1))
    return sorted(points)


def _box(corners: Sequence[tuple[float, float, float]], space: Space, volume: Volume) -> BoxIjk:
    """Two corners as lowest and highest voxel; a box in mm that is turned is boxed in."""
    two = np.array(corners, np.float64)
    mixed = np.array(np.meshgrid(*two.T, indexing="ij")).reshape(3, -1).T
    ijk = _indices(mixed, space, volume)
    return np.stack([ijk.min(axis=0), ijk.max(axis=0)])


def _indices(
    places: Float[np.ndarray, "n 3"], space: Space, volume: Volume
) -> Int64[np.ndarray, "n 3"]:
    """The voxels whose centres lie nearest."""
    ijk = ijk_from_ras(volume.affine, places) if space == "ras_mm" else places
    return np.rint(ijk).astype(np.int64)
