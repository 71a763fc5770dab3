"""Studies for scripts/bench_server_crowd.py, and what annotators ask about them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from cobot.datasets.phantom import abdomen_phantom
from cobot.datasets.scene import Phantom

STRUCTURES = ("liver", "spleen", "right kidney", "left kidney")
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
    found = [one for one in STRUCTURES if phantom.truth.mask(one).sum() > 200]
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


def fingerprint(voxels: np.ndarray, told: Mapping[str, Any]) -> str:
    """An answer in one word: every voxel, and all that is told but for times and caches."""
    lasting = {key: value for key, value in told.items() if key not in OF_THE_MOMENT}
    text = json.dumps([voxels.shape, str(voxels.dtype), lasting], sort_keys=True)
    return hashlib.sha256(text.encode() + voxels.tobytes()).hexdigest()
