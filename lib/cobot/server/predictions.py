"""The last mask given for each slice of each structure: what a clinician's label will correct."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import final
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Bool

from cobot.atomic import atomic_path
from cobot.shapes import LabelVoxels

KEPT_IMAGES = 500
KEPT_LABELS = 150
"""Structures of one image; SegRap2023 asks for 47."""


@dataclass(frozen=True, slots=True)
class GivenMask:
    """One answer, as it was given.

    Attributes:
        label: the structure's name.
        slice_k: voxel index of the slice.
        mask: voxels i j of that slice.
        adapter: version that answered; None is the base alone.
        time: when, in UTC.
    """

    label: str
    slice_k: int
    mask: Bool[np.ndarray, "i j"]
    adapter: str | None
    time: datetime

    def note(self) -> dict[str, object]:
        """What is told of it beside the voxels."""
        return {"slice": self.slice_k, "adapter": self.adapter, "time": self.time.isoformat()}


@final
class PredictionStore:
    """A folder of small files, one a slice, so that a click costs a thousandth of its volume.

    Names of images and structures are hashed: they may name a patient. The images that were
    clicked on least recently go when there are more than `kept_images`, and so do the structures
    of an image beyond `KEPT_LABELS`. May be shared by threads and outlives the process.
    """

    def __init__(self, folder: Path, kept_images: int = KEPT_IMAGES) -> None:
        """Use a folder, made when first written to."""
        self._folder = folder
        self._kept_images = kept_images

    def keep(self, image_id: str, given: GivenMask) -> None:
        """Remember an answer in place of the one before on that slice."""
        image = self._folder / _name(image_id)
        label = image / _name(given.label)
        if not label.is_dir():
            label.mkdir(parents=True, exist_ok=True)
            _drop_oldest(self._folder, self._kept_images)
            _drop_oldest(image, KEPT_LABELS)
        _touch(image)
        with atomic_path(label / f"{given.slice_k}.npz") as partial:
            _write(partial, given)

    def keep_structure(self, image_id: str, label: str, given: Sequence[GivenMask]) -> None:
        """Remember an answer about a whole structure in place of all before; what it leaves goes.

        Args:
            image_id: the image.
            label: the structure's name.
            given: its slices, all of that label.
        """
        for one in given:
            self.keep(image_id, one)
        answered = {f"{one.slice_k}.npz" for one in given}
        for path in (self._folder / _name(image_id) / _name(label)).glob("*.npz"):
            if path.name not in answered:
                path.unlink(missing_ok=True)

    def of(self, image_id: str) -> tuple[GivenMask, ...]:
        """Every answer that is remembered for an image; what cannot be read is left out."""
        files = sorted((self._folder / _name(image_id)).glob("*/*.npz"))
        return tuple(given for path in files if (given := _read(path)) is not None)

    def forget(self, image_id: str) -> None:
        """Drop everything about an image."""
        shutil.rmtree(self._folder / _name(image_id), ignore_errors=True)


def compose(
    given: tuple[GivenMask, ...], values: Mapping[str, int], shape: tuple[int, int, int]
) -> LabelVoxels:
    """The answers as one label map; where two structures were found, the later answer counts.

    Args:
        given: answers for one image; those that do not fit the shape are left out.
        values: name to value; other structures are left out.
        shape: voxels along i, j, k.
    """
    voxels = np.zeros(shape, np.uint16)
    for one in sorted(given, key=lambda one: one.time):
        fits = one.mask.shape == shape[:2] and 0 <= one.slice_k < shape[2]
        if fits and one.label in values:
            voxels[:, :, one.slice_k][one.mask] = values[one.label]
    return voxels


def _write(path: Path, given: GivenMask) -> None:
    note = json.dumps({"label": given.label, **given.note()})
    with path.open("wb") as file:
        np.savez_compressed(
            file, mask=np.packbits(given.mask), shape=np.array(given.mask.shape), note=note
        )


def _read(path: Path) -> GivenMask | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            rows, cols = arrays["shape"].tolist()
            mask = np.unpackbits(arrays["mask"], count=rows * cols).reshape(rows, cols) > 0
            note = json.loads(str(arrays["note"]))
        time = datetime.fromisoformat(note["time"]).astimezone(timezone.utc)
        return GivenMask(note["label"], note["slice"], mask, note["adapter"], time)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _drop_oldest(folder: Path, kept: int) -> None:
    """Leave the newest folders in a folder."""
    inside = sorted(_ages(folder), reverse=True)
    for _, path in inside[kept:]:
        shutil.rmtree(path, ignore_errors=True)


def _ages(folder: Path) -> Iterator[tuple[float, Path]]:
    for path in folder.iterdir():
        with suppress(OSError):
            if path.is_dir():
                yield path.stat().st_mtime, path


def _touch(folder: Path) -> None:
    with suppress(OSError):
        folder.touch()
