"""Between a slice's pixels and the square that SAM sees, both ways."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor

from cobot.errors import GeometryError
from cobot.shapes import BoxXyxy, PointsXy

SAM_MEAN = (123.675, 116.28, 103.53)
SAM_STD = (58.395, 57.12, 57.375)
"""Of ImageNet's red, green and blue on 0..255: segment_anything's normalisation."""

OUTSIDE_LOGIT = -100.0
"""Of pixels SAM was not shown: surely background, yet finite."""


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a slice's pixels, `stop` not included."""

    row_start: int
    row_stop: int
    col_start: int
    col_stop: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.row_stop - self.row_start, self.col_stop - self.col_start

    @property
    def slices(self) -> tuple[slice, slice]:
        """To cut the region out of a picture."""
        return slice(self.row_start, self.row_stop), slice(self.col_start, self.col_stop)

    def contains(self, xy: PointsXy) -> bool:
        """Whether every point lies on a pixel of the region."""
        first = (self.col_start - 0.5, self.row_start - 0.5)
        last = (self.col_stop - 0.5, self.row_stop - 0.5)
        return bool(((xy >= first) & (xy <= last)).all())


@dataclass(frozen=True, slots=True)
class SamFrame:
    """How a region of a slice lies in SAM's square input.

    The region fills the square from the top left; its longest physical side becomes the side of
    the square and pixels become square, whatever the spacing. The rest, at the right or the
    bottom, is padding. Coordinates are of pixel centres: the centre of the top left pixel is
    (0, 0) in the slice and in the frame.

    Attributes:
        shape: rows and columns of the slice.
        region: the part of the slice that is shown.
        content_px: rows and columns of the square that the region fills.
        side_px: side of the square.
    """

    shape: tuple[int, int]
    region: Region
    content_px: tuple[int, int]
    side_px: int

    @classmethod
    def fit(
        cls,
        shape: tuple[int, int],
        spacing_mm: tuple[float, float],
        side_px: int,
        region: Region | None = None,
    ) -> "SamFrame":
        """The frame of a slice.

        Args:
            shape: rows and columns of the slice.
            spacing_mm: between pixel centres, down the rows and along the columns.
            side_px: side of SAM's input.
            region: the part to show; by default the whole slice.

        Raises:
            GeometryError: the region is empty or reaches over the edge, or a spacing is not
                above 0.
        """
        region = region or Region(0, shape[0], 0, shape[1])
        _require_usable(shape, spacing_mm, region)
        extent = [pixels * step for pixels, step in zip(region.shape, spacing_mm, strict=True)]
        rows, cols = (max(1, round(side_px * length / max(extent))) for length in extent)
        return cls(shape=shape, region=region, content_px=(rows, cols), side_px=side_px)

    @property
    def scale_xy(self) -> Float64[np.ndarray, " 2"]:
        """Frame pixels for each slice pixel, along x and y."""
        rows, cols = self.region.shape
        return np.array([self.content_px[1] / cols, self.content_px[0] / rows])

    @property
    def _origin_xy(self) -> Float64[np.ndarray, " 2"]:
        return np.array([self.region.col_start, self.region.row_start], np.float64)

    def image(self, unit: Float32[np.ndarray, "row col"]) -> Float32[Tensor, "1 3 side side"]:
        """The picture as SAM's encoder wants it.

        Args:
            unit: the whole slice, windowed to 0..1; resized without aliasing, spread over
                0..255, repeated to three channels, normalised, then padded with zeros.
        """
        grey = self._content(unit) * 255
        mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (SAM_MEAN, SAM_STD))
        return self._pad((grey - mean) / std)

    def grey(
        self, unit: Float32[np.ndarray, "row col"], device: torch.device | None = None
    ) -> Float32[Tensor, "1 1 side side"]:
        """The picture as it lies in the square, 0..1, not normalised, padded with zeros.

        Args:
            unit: the whole slice, windowed to 0..1; resized without aliasing.
            device: where it is resized, and wanted; None is the CPU.
        """
        return self._pad(self._content(unit, device))

    def _content(
        self, unit: Float32[np.ndarray, "row col"], device: torch.device | None = None
    ) -> Float32[Tensor, "1 1 h w"]:
        return _resize(_tensor(unit[self.region.slices]).to(device), self.content_px)

    def points(self, xy: PointsXy) -> PointsXy:
        """Slice coordinates to frame coordinates."""
        return (xy - self._origin_xy + 0.5) * self.scale_xy - 0.5

    def points_to_pixels(self, xy: PointsXy) -> PointsXy:
        """Frame coordinates to slice coordinates; the inverse of `points`."""
        return (xy + 0.5) / self.scale_xy - 0.5 + self._origin_xy

    def box(self, xyxy: BoxXyxy) -> BoxXyxy:
        """A box on the slice to the same box in the frame.

        Both hold their first and last pixel, and those have a width: a box around one pixel that
        is shown three times as large holds three pixels.
        """
        first, last = self.points(xyxy.reshape(2, 2) + [[-0.5], [0.5]])
        return np.concatenate([first + 0.5, last - 0.5])

    def mask_to_pixels(
        self, logits: Float[Tensor, "*prompts h w"]
    ) -> Float32[Tensor, "*prompts row col"]:
        """Logits of the square, at any resolution, to logits of the slice's pixels.

        The value at each pixel's centre, bilinear; padding is cut off. Pixels outside the region
        get OUTSIDE_LOGIT.
        """
        flat = logits.reshape(-1, 1, *logits.shape[-2:]).float()
        # A pixel's width in cells. `interpolate` takes a size or a scale; both are needed where the
        # region does not end at a cell's edge.
        steps = [
            cells * content / (self.side_px * pixels)
            for cells, content, pixels in zip(
                flat.shape[-2:], self.content_px, self.region.shape, strict=True
            )
        ]
        down, along = (1 / step for step in steps)
        rows, cols = self.region.shape
        # Where as many pixels come out as cells go in, the operator copies, whatever the scale: one
        # more is asked for and cut off.
        size = [
            pixels + (pixels == cells)
            for pixels, cells in zip((rows, cols), flat.shape[-2:], strict=True)
        ]
        shown = torch.ops.aten.upsample_bilinear2d(flat, size, False, down, along)
        shown = shown[..., :rows, :cols]
        if self.region.shape != self.shape:
            whole = shown.new_full((len(flat), 1, *self.shape), OUTSIDE_LOGIT)
            inside = self.region.slices
            whole[..., inside[0], inside[1]] = shown
            shown = whole
        return shown.reshape(*logits.shape[:-2], *self.shape)

    def mask_from_pixels(
        self, mask: Bool[np.ndarray, "row col"], size_px: int | None = None
    ) -> Float32[Tensor, "size size"]:
        """A mask of the slice in the square: the share of each place that is object, 0 to 1.

        Args:
            mask: the whole slice.
            size_px: resolution of the square; by default the side of SAM's input. Give the
                side of the low-resolution logits to compare with them. Padding is 0.
        """
        shown = _tensor(mask[self.region.slices].astype(np.float32))
        square = self._pad(_resize(shown, self.content_px))
        size = self.side_px if size_px is None else size_px
        return _resize(square, (size, size))[0, 0]

    def _pad(self, content: Float32[Tensor, "1 c h w"]) -> Float32[Tensor, "1 c side side"]:
        rows, cols = self.content_px
        return F.pad(content, (0, self.side_px - cols, 0, self.side_px - rows))


def _tensor(picture: Float32[np.ndarray, "row col"]) -> Float32[Tensor, "1 1 row col"]:
    return torch.from_numpy(np.array(picture, order="C"))[None, None]


def _resize(
    picture: Float32[Tensor, "1 1 row col"], size: tuple[int, int]
) -> Float32[Tensor, "1 1 h w"]:
    """Bilinear; widened when shrinking, so that thin things fade and do not vanish."""
    if tuple(picture.shape[-2:]) == size:
        return picture
    return F.interpolate(picture, size=size, mode="bilinear", align_corners=False, antialias=True)


def _require_usable(
    shape: tuple[int, int], spacing_mm: tuple[float, float], region: Region
) -> None:
    inside = (
        0 <= region.row_start < region.row_stop <= shape[0]
        and 0 <= region.col_start < region.col_stop <= shape[1]
    )
    if not inside:
        raise GeometryError(
            f"Region {region} does not lie inside a slice of {shape[0]} rows and {shape[1]} "
            "columns, or is empty; give start < stop within the slice."
        )
    if not min(spacing_mm) > 0:
        raise GeometryError(f"Pixel spacing must be above 0 mm, got {spacing_mm}.")
