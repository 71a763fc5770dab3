"""Cut a volume into slices and put masks back on the very voxels they came from."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Integer, UInt16

from cobot.errors import GeometryError, GridMismatchError
from cobot.planes import Plane, Slice
from cobot.volume import LabelMap, Volume


def cut_slice(volume: Volume, plane: Plane, index: int) -> Slice:
    """Cut one slice; its pixels are a view of the volume's voxels.

    Args:
        volume: the volume to cut.
        plane: how to cut it.
        index: which slice along `plane.axis`, from 0.

    Raises:
        GeometryError: the volume has no such slice.
    """
    count = volume.shape[plane.axis]
    if not 0 <= index < count:
        raise GeometryError(
            f"Slice {index} along voxel axis {'ijk'[plane.axis]} does not exist; "
            f"the volume has slices 0 to {count - 1}."
        )
    spacing = volume.spacing_mm
    return Slice(
        pixels=plane.picture(volume.voxels, index),
        plane=plane,
        index=index,
        spacing_mm=(spacing[plane.row_axis], spacing[plane.col_axis]),
    )


def slice_volume(volume: Volume, plane: Plane) -> Iterator[Slice]:
    """Every slice of the volume, in the order of the voxels."""
    return (cut_slice(volume, plane, index) for index in range(volume.shape[plane.axis]))


def settle_overlaps(
    claims: Sequence[tuple[int, Float32[np.ndarray, "row col"]]],
) -> UInt16[np.ndarray, "row col"]:
    """One value for each pixel: of those that claim it, the one with the highest logit.

    Args:
        claims: at least one value with its logits on the same slice; it claims the pixels above 0.
            A value may come more than once.
    """
    values = np.array([value for value, _ in claims], np.uint16)
    logits = np.stack([one for _, one in claims])
    return np.where((logits > 0).any(axis=0), values[logits.argmax(axis=0)], np.uint16(0))


def stack_masks(
    masks: Mapping[int, Integer[np.ndarray, "row col"]],
    plane: Plane,
    like: Volume,
    labels: Mapping[int, str],
) -> LabelMap:
    """Put label pictures back into a volume: the inverse of `slice_volume`.

    Args:
        masks: slice index to label values, rows by columns; slices left out are background.
        plane: the plane the slices were cut in.
        like: the volume they were cut from.
        labels: value to name.

    Raises:
        GridMismatchError: a mask does not have the shape of its slice, or a value has no name.
    """
    dtype = np.uint8 if max(labels, default=0) <= 255 else np.uint16
    # i runs fastest, as in files: the other way round, writing takes ten times as long.
    voxels = np.zeros(like.shape, dtype, order="F")
    for index, mask in masks.items():
        target = cut_slice(like, plane, index)
        if mask.shape != target.pixels.shape:
            raise GridMismatchError(
                f"The mask of slice {index} has shape {mask.shape}, "
                f"its slice has {target.pixels.shape}."
            )
        unnamed = set(np.unique(mask).tolist()) - {0, *labels}
        if unnamed:
            raise GridMismatchError(
                f"The mask of slice {index} holds values {sorted(unnamed)} that no label names; "
                f"known are {dict(labels)}."
            )
        plane.picture(voxels, index)[...] = mask
    return LabelMap(voxels=voxels, affine=like.affine, labels=dict(labels))
