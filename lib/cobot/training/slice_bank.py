"""The pictures `tiny` is pretrained on: slices on three axes, with organs and pseudo-objects.

A bank is a few plain arrays of one fixed size, so that it can be written once, hashed, and read
back in a second.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int16, Int64, UInt8

from cobot.atomic import atomic_path
from cobot.datasets.pairs import image_label_pairs
from cobot.datasets.phantom import random_abdomen_slice
from cobot.datasets.phantom_head_neck import random_head_neck_slice
from cobot.errors import ConfigError
from cobot.intensity import IntensityWindow
from cobot.io import read_label_map, read_volume
from cobot.planes import plane_across
from cobot.shapes import Pixels
from cobot.slicing import cut_slice
from cobot.training.pseudo_objects import grey_band_objects, superpixel_objects
from cobot.volume import Volume

CANVAS_PX = 160
AIR_HU = -1000
BODY_HU = -300
MARGIN_PX = 2
SMALLEST_BODY_PX = 24

AXIS_SHARES = (0.1, 0.1, 0.8)
"""How often a slice lies across i, j, k: mostly as annotators and evaluations of CT see it."""

THROUGH_LABEL = 0.8
"""How often a slice is drawn among those that hold a labelled voxel: small organs are on few."""


@dataclass(frozen=True, slots=True)
class RawPicture:
    """One slice before it enters the bank: HU, organ labels (0 none) and pixel spacing."""

    pixels_hu: Pixels
    organs: Pixels
    spacing_mm: tuple[float, float]


@dataclass(frozen=True, slots=True)
class SliceBank:
    """Pictures in the top left corner of one canvas size.

    Attributes:
        pixels_hu: picture, row, col; air where there is none.
        layers: picture, layer (organs, superpixels, grey bands), row, col; 0 is no object.
        size_px: picture, (rows, cols) in use.
        spacing_mm: picture, (row, col).
    """

    pixels_hu: Int16[np.ndarray, "n row col"]
    layers: UInt8[np.ndarray, "n layer row col"]
    size_px: Int64[np.ndarray, "n 2"]
    spacing_mm: Float32[np.ndarray, "n 2"]

    def __len__(self) -> int:
        return len(self.pixels_hu)

    def sha256(self) -> str:
        """Fingerprint of everything in the bank, for the model card."""
        digest = hashlib.sha256()
        for array in (self.pixels_hu, self.layers, self.size_px, self.spacing_mm):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write the bank as one .npz, under its final name only when whole."""
        with atomic_path(path) as temporary:
            np.savez(
                temporary,
                pixels_hu=self.pixels_hu,
                layers=self.layers,
                size_px=self.size_px,
                spacing_mm=self.spacing_mm,
            )

    @classmethod
    def load(cls, path: Path) -> "SliceBank":
        """Read a bank written by `save`."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{name: arrays[name] for name in cls.__slots__})


def build_bank(pictures: Iterable[RawPicture], rng: np.random.Generator) -> SliceBank:
    """Crop each picture to the body, add pseudo-objects and lay it on the canvas.

    Raises:
        ConfigError: there is not a single usable picture.
    """
    entries = [entry for picture in pictures if (entry := _entry(picture, rng)) is not None]
    if not entries:
        raise ConfigError("No slice holds a body; check the data folder and its units (HU).")
    hu, layers, size, spacing = (list(column) for column in zip(*entries, strict=True))
    return SliceBank(
        np.stack(hu),
        np.stack(layers),
        np.stack(size).astype(np.int64),
        np.stack(spacing).astype(np.float32),
    )


def labelled_slices(
    folder: Path, per_volume: int, rng: np.random.Generator
) -> Iterator[RawPicture]:
    """Slices on three axes of every `image_*.nii.gz` in a folder that has its `label_*.nii.gz`."""
    for image, label in image_label_pairs(folder):
        volume = read_volume(image)
        organs = read_label_map(label).on_grid_of(volume)
        labelled = volume.with_voxels(organs.voxels)
        for _ in range(per_volume):
            yield random_picture(volume, labelled, rng)


def phantom_slices(count: int, rng: np.random.Generator) -> Iterator[RawPicture]:
    """Slices of phantom abdomens (two of three) and phantom heads and necks."""
    for _ in range(count):
        draw = random_abdomen_slice if rng.random() < 0.67 else random_head_neck_slice
        pixels_hu, organs = draw(rng, int(rng.integers(110, CANVAS_PX)))
        yield RawPicture(pixels_hu, organs, (1.0, 1.0))


def random_picture(volume: Volume, labels: Volume, rng: np.random.Generator) -> RawPicture:
    """One slice across a random axis (`AXIS_SHARES`), mostly through a labelled voxel."""
    axis = int(rng.choice(3, p=AXIS_SHARES))
    plane = plane_across(volume.affine, axis)
    marked = np.flatnonzero(labels.voxels.any(axis=tuple({0, 1, 2} - {axis})))
    through_label = marked.size > 0 and rng.random() < THROUGH_LABEL
    index = int(rng.choice(marked) if through_label else rng.integers(volume.shape[axis]))
    picture = cut_slice(volume, plane, index)
    organs = cut_slice(labels, plane, index).pixels
    return RawPicture(picture.pixels, organs, picture.spacing_mm)


def _entry(
    picture: RawPicture, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    hu = np.clip(picture.pixels_hu, AIR_HU, 3000).astype(np.int16)
    body = _body_box(hu)
    if body is None:
        return None
    hu, organs = hu[body], picture.organs[body]
    unit = IntensityWindow(-200, 300).apply(hu)
    layers = np.stack(
        [organs.astype(np.uint8), superpixel_objects(unit, rng), grey_band_objects(unit, rng)]
    )
    return (
        _on_canvas(hu, AIR_HU),
        np.stack([_on_canvas(layer, 0) for layer in layers]),
        np.array(hu.shape),
        np.array(picture.spacing_mm, np.float32),
    )


def _body_box(hu: np.ndarray) -> tuple[slice, slice] | None:
    body = hu > BODY_HU
    spans = []
    for axis in (0, 1):
        used = np.flatnonzero(body.sum(axis=1 - axis) > 2)
        if used.size < SMALLEST_BODY_PX:
            return None
        start = max(0, int(used[0]) - MARGIN_PX)
        spans.append(slice(start, min(int(used[-1]) + 1 + MARGIN_PX, start + CANVAS_PX)))
    return spans[0], spans[1]


def _on_canvas(picture: np.ndarray, empty: int) -> np.ndarray:
    canvas = np.full((CANVAS_PX, CANVAS_PX), empty, picture.dtype)
    canvas[: picture.shape[0], : picture.shape[1]] = picture
    return canvas
