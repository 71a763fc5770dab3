"""From a banked slice to a training picture: another window, contrast, size and place each time."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from cobot.intensity import PRESETS, FixedWindow, IntensityWindow
from cobot.training.pasted_objects import pasted_blobs, recoloured
from cobot.training.slice_bank import SliceBank

CT_WINDOWS = tuple(rule for rule in PRESETS.values() if isinstance(rule, FixedWindow))

RECOLOURED = (0.2, 0.1)
"""How often organs, and how often superpixels, get greys of their own."""

ZOOMED = 0.75
"""How often the picture is shown larger or smaller than it fills the frame."""

ZOOM_LOG = (-0.2, 1.0)
"""Range of the zoom's logarithm: 0.8 to 2.7. Most pretraining frames have 128 px, one at inference
256: a zoom of 2 shows an organ of a few voxels with as many pixels as it will have there."""

UPRIGHT = 0.9
"""How often a picture is turned by a few degrees (sd 0.15 rad) and not by any angle."""


@dataclass(frozen=True, slots=True)
class PictureRule:
    """How a frame is made of a banked slice.

    Attributes:
        side_px: of the frame.
        blob_probability: how often blobs are pasted into it.
        freedom: how often size, place and angle stray as far as they may; else the picture fills
            the frame upright, but for a tenth of its size and 0.05 rad, as at inference.
    """

    side_px: int
    blob_probability: float
    freedom: float = 1.0


@dataclass(frozen=True, slots=True)
class TrainingPicture:
    """One frame and the objects on it.

    Attributes:
        unit: side by side, 0 to 1, black outside the body.
        layers: organs, superpixels, grey bands and blobs, side by side; 0 is no object.
        content_px: rows and columns in use, from the top left; the rest is padding.
    """

    unit: Float32[np.ndarray, "side side"]
    layers: UInt8[np.ndarray, "layer side side"]
    content_px: tuple[int, int]


def training_picture(
    bank: SliceBank, index: int, rule: PictureRule, rng: np.random.Generator
) -> TrainingPicture:
    """Draw one augmented frame.

    Args:
        bank: where pictures come from.
        index: of the picture.
        rule: how the frame is made.
        rng: source of randomness.
    """
    rows, cols = bank.size_px[index]
    unit = windowed(bank.pixels_hu[index, :rows, :cols], rng)
    unit = remapped(unit, rng)
    size_mm = bank.size_px[index] * bank.spacing_mm[index]
    place = _free_place(rng) if rng.random() < rule.freedom else _usual_place(rng)
    grid, content_px = _sampling_grid(size_mm, rule.side_px, place, rng)
    frame = _sample(unit[None], grid, "bilinear")[0]
    layers = _sample(bank.layers[index, :, :rows, :cols].astype(np.float32), grid, "nearest")
    frame[content_px[0] :] = frame[:, content_px[1] :] = 0
    layers[:, content_px[0] :] = layers[:, :, content_px[1] :] = 0
    frame, objects = _with_new_objects(frame, layers.astype(np.uint8), rule, rng)
    return TrainingPicture(degraded(frame, rng), objects, content_px)


def _with_new_objects(
    frame: Float32[np.ndarray, "side side"],
    layers: UInt8[np.ndarray, "layer side side"],
    rule: PictureRule,
    rng: np.random.Generator,
) -> tuple[Float32[np.ndarray, "side side"], UInt8[np.ndarray, "layer2 side side"]]:
    """Give objects other greys now and then, and add blobs, which are one more layer."""
    for layer, often in zip(layers, RECOLOURED, strict=False):
        if rng.random() < often:
            frame = recoloured(frame, layer, rng)
    blobs = np.zeros_like(layers[0])
    if rng.random() < rule.blob_probability:
        pasted = pasted_blobs(frame, rng)
        frame, blobs = pasted.unit, pasted.blobs
        layers = np.where(blobs > 0, 0, layers)
    return frame, np.concatenate([layers, blobs[None]])


def windowed(hu: np.ndarray, rng: np.random.Generator) -> Float32[np.ndarray, "row col"]:
    """Apply a preset (half of the time) or a random window."""
    if rng.random() < 0.5:
        preset = CT_WINDOWS[rng.integers(len(CT_WINDOWS))]
        return IntensityWindow(preset.lower_hu, preset.upper_hu).apply(hu)
    width, level = np.exp(rng.uniform(np.log(120), np.log(2000))), rng.uniform(-50, 120)
    return IntensityWindow(level - width / 2, level + width / 2).apply(hu)


def remapped(
    unit: Float32[np.ndarray, "row col"], rng: np.random.Generator
) -> Float32[np.ndarray, "row col"]:
    """Gamma, and often another order of grey values, so that MR-like contrast is seen.

    In MR fat may be brighter than liver or darker, and bone is black: a quarter of pictures get a
    random piecewise curve or an inversion inside the body.
    """
    body = unit > 0
    kind = rng.random()
    if kind < 0.1:
        unit = np.where(body, 1 - 0.9 * unit, 0)
    elif kind < 0.25:
        knots = np.linspace(0, 1, 6)
        unit = np.where(body, np.interp(unit, knots, rng.uniform(0.02, 1, 6)), 0)
    unit = unit ** np.exp(rng.uniform(-0.4, 0.4))
    if rng.random() < 0.25:
        unit = unit * _bias_field(unit.shape, rng)
    return np.clip(unit, 0, 1).astype(np.float32)


def degraded(
    frame: Float32[np.ndarray, "side side"], rng: np.random.Generator
) -> Float32[np.ndarray, "side side"]:
    """Blur and noise, as scanners and thick slices give them; padding stays black."""
    shown = frame > 0
    if rng.random() < 0.3:
        frame = ndimage.gaussian_filter(frame, rng.uniform(0.3, 1.5))
    if rng.random() < 0.3:
        frame = frame + rng.normal(0, rng.uniform(0.005, 0.05), frame.shape)
    return np.clip(np.where(shown, frame, 0), 0, 1).astype(np.float32)


def _bias_field(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    coarse = rng.uniform(0.5, 1.3, (3, 3))
    zoom = [size / 3 for size in shape]
    field: np.ndarray = ndimage.zoom(coarse, zoom, order=1, mode="nearest", grid_mode=True)
    return field


def _free_place(rng: np.random.Generator) -> tuple[float, float]:
    """A zoom, and an angle in radians, as far from those at inference as training goes."""
    zoom = float(np.exp(rng.uniform(*ZOOM_LOG))) if rng.random() < ZOOMED else 1.0
    return zoom, rng.normal(0, 0.15) if rng.random() < UPRIGHT else rng.uniform(-np.pi, np.pi)


def _usual_place(rng: np.random.Generator) -> tuple[float, float]:
    """A zoom, and an angle in radians, near those at inference."""
    return float(np.exp(rng.uniform(-0.1, 0.1))), rng.normal(0, 0.05)


def _sampling_grid(
    size_mm: np.ndarray, side_px: int, place: tuple[float, float], rng: np.random.Generator
) -> tuple[Tensor, tuple[int, int]]:
    """Where each frame pixel is read in the picture, and how much of the frame is in use.

    The picture's longer physical side fills the frame from the top left, as at inference, times the
    zoom and a random aspect; rotation and flips turn it about its middle; what is larger than the
    frame is cut at a random place.

    Returns:
        For torch's grid_sample (1 side side 2), and (rows, cols) of content.
    """
    zoom, angle = place
    mm_per_px = size_mm.max() / side_px / zoom * np.exp(rng.uniform(-0.12, 0.12, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flips = np.where(rng.random(2) < [0.25, 0.5], -1.0, 1.0)
    spare_mm = np.minimum(0, side_px * mm_per_px - size_mm)
    axis = np.arange(side_px) + 0.5
    rows, cols = np.meshgrid(axis * mm_per_px[0], axis * mm_per_px[1], indexing="ij")
    offset_mm = np.stack([rows, cols], -1) - spare_mm * rng.random(2) - size_mm / 2
    at = (offset_mm @ turn.T) * flips / (size_mm / 2)
    content = np.minimum(side_px, np.ceil(size_mm / mm_per_px)).astype(int)
    grid = torch.from_numpy(at[None, ..., ::-1].astype(np.float32))
    return grid, (int(content[0]), int(content[1]))


def _sample(layers: Float32[np.ndarray, "n row col"], grid: Tensor, mode: str) -> np.ndarray:
    source = torch.from_numpy(np.ascontiguousarray(layers))[None]
    sampled: np.ndarray = F.grid_sample(source, grid, mode=mode, align_corners=False)[0].numpy()
    return sampled
