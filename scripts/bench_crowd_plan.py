"""Studies for scripts/bench_server_crowd.py, and what annotators ask about them."""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from cobot.datasets.phantom import abdomen_phantom
from cobot.datasets.scene import Phantom

STRUCTURES = ("liver", "spleen", "right kidney", "left kidney")
LEAST_VOXELS = 30
"""Of a structure that is asked for."""

UNHURRIED_S = 600
"""Of time caps: an answer that load cut short could not be compared."""

OF_THE_MOMENT = ("latencies", "encoder_cached", "slices_encoded", "slices_answered")
"""What is told of an answer and is not part of it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    Attributes:
        study: name of the image.
        number: among the requests about that study.
        model: which task.
        request: its keys.
    """

    study: str
    number: int
    model: str
    request: Mapping[str, Any]


def write_study(folder: Path, seed: int, shape: tuple[int, int, int]) -> tuple[str, Phantom]:
    """Write a phantom as a study; its name, and the phantom."""
    spacing = (384 / shape[0], 320 / shape[1], 192 / shape[2])
    phantom = abdomen_phantom(seed, shape, spacing)
    name = f"phantom_{seed}"
    image = nib.Nifti1Image(phantom.volume.voxels, phantom.volume.affine)
    nib.save(image, folder / f"{name}.nii.gz")
    return name, phantom


def session(name: str, phantom: Phantom, others: Sequence[str]) -> list[Asked]:
    """What an annotator asks about a study: clicks added, deleted, on one slice and on several.

    Args:
        name: of the study.
        phantom: the study itself.
        others: models that need no click.
    """
    found = [one for one in STRUCTURES if phantom.truth.mask(one).sum() >= LEAST_VOXELS]
    asked: list[tuple[str, dict[str, Any]]] = []
    clicks: dict[str, list[list[int]]] = {}
    for label in found:
        first, second, off, roi = _places(phantom.truth.mask(label))
        clicks[label] = [first]
        slice_k = {"label": label, "slice": first[2]}
        asked += [
            ("sam_2d", {**slice_k, "foreground": [first]}),
            ("sam_2d", {**slice_k, "foreground": [first], "background": [off]}),
            ("sam_2d", {**slice_k, "roi": roi}),
        ]
        volume = {"label": label, "time_cap_s": UNHURRIED_S}
        asked += [
            ("sam_3d", {**volume, "foreground": [first]}),
            ("sam_3d", {**volume, "foreground": [first, second]}),
            ("sam_3d", {**volume, "foreground": [first, second], "background": [off]}),
            ("sam_3d", {**volume, "foreground": [first]}),
            ("sam_3d", {**volume, "roi": roi}),
        ]
    for count in (2, len(found)):
        some = {label: clicks[label] for label in found[:count]}
        asked.append(("sam_multi", {**some, "label": found[0], "time_cap_s": UNHURRIED_S}))
    asked += [(model, {}) for model in others]
    return [Asked(name, number, *one) for number, one in enumerate(asked)]


def _places(truth: np.ndarray) -> tuple[list[int], list[int], list[int], list[int]]:
    """Two clicks on a structure, on slices apart, one beside it, and its box as Slicer sends it."""
    areas = truth.sum(axis=(0, 1))
    k = int(areas.argmax())
    filled = np.flatnonzero(areas)
    other = int(filled[len(filled) // 4])
    inside = np.argwhere(truth[:, :, k])
    (i0, j0), (i1, j1) = inside.min(axis=0).tolist(), inside.max(axis=0).tolist()
    off = [max(i0 - 3, 0), max(j0 - 3, 0), k]
    return _middle(truth, k), _middle(truth, other), off, [i1, i0, j1, j0, k, k]


def _middle(truth: np.ndarray, k: int) -> list[int]:
    inside = np.argwhere(truth[:, :, k])
    nearest = np.abs(inside - inside.mean(axis=0)).sum(axis=1).argmin()
    return [*inside[nearest].tolist(), k]


def lasting(told: Mapping[str, Any]) -> str:
    """All that is told of an answer but for times and caches, as text."""
    kept = {key: value for key, value in told.items() if key not in OF_THE_MOMENT}
    return json.dumps(kept, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, small enough to keep all of them.

    Attributes:
        shape: of the mask.
        packed: its voxels, compressed.
        told: see `lasting`.
    """

    shape: tuple[int, ...]
    packed: bytes
    told: str

    @classmethod
    def of(cls, voxels: np.ndarray, told: Mapping[str, Any]) -> "Reply":
        """Keep an answer.

        Args:
            voxels: uint8.
            told: as the client got it.
        """
        return cls(voxels.shape, zlib.compress(voxels.tobytes(), 1), lasting(told))

    @property
    def voxels(self) -> np.ndarray:
        """The mask."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.shape)

    def difference(self, other: "Reply") -> str:
        """In words; empty if the answers are the same, voxel for voxel and word for word."""
        if self == other:
            return ""
        if self.shape != other.shape:
            return f"shape {self.shape}, not {other.shape}"
        wrong = int((self.voxels != other.voxels).sum())
        filled = int(np.maximum((self.voxels > 0).sum(), (other.voxels > 0).sum()))
        return f"{wrong} voxels of {filled}" if wrong else "the same mask, other words"
