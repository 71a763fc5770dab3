"""What every reader asks of the numbers it has read, whatever the format."""

from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from cobot.errors import GeometryError, ImageReadError
from cobot.shapes import Affine, Voxels
from cobot.volume import Volume


def volume_from(array: Shaped[np.ndarray, "..."], affine: Affine, path: Path) -> Volume:
    """The one 3D volume in what a file holds.

    Trailing axes of length one are dropped: a 4D image with a single frame is a volume. A third
    axis of length one stays: it is a volume of one slice.

    Args:
        array: voxels in the order i j k [frame ...].
        affine: voxel index to RAS+ millimetres.
        path: what the error names.

    Returns:
        Integers as stored, everything else as float32; native byte order, writable.

    Raises:
        ImageReadError: not one 3D volume of finite real numbers, or no place in the patient.
    """
    return _placed(_plain_numbers(_three_axes(array, path), path), affine, path)


def empty_volume(shape: tuple[int, ...], affine: Affine, path: Path) -> Volume:
    """A grid alone, as a volume of zeros that takes no memory; axes as for `volume_from`.

    Raises:
        ImageReadError: not one 3D grid, or no place in the patient.
    """
    # A damaged header can give less than none.
    sizes = [max(size, 0) for size in shape]
    zeros = _three_axes(np.broadcast_to(np.uint8(0), sizes), path)
    return _placed(zeros, affine, path)


def _placed(voxels: Voxels, affine: Affine, path: Path) -> Volume:
    try:
        return Volume(voxels, affine)
    except GeometryError as error:
        raise ImageReadError(f"{path}: {error}") from error


def _three_axes(array: Shaped[np.ndarray, "..."], path: Path) -> Voxels:
    shape = array.shape
    if 0 in shape:
        raise ImageReadError(f"{path} holds no voxels (shape {shape}); export the image again.")
    if len(shape) < 3:
        raise ImageReadError(
            f"{path} is a {len(shape)}D picture of shape {shape}; expected a 3D volume. "
            "Stack the slices of the series into one file, or give the DICOM folder."
        )
    if any(length != 1 for length in shape[3:]):
        raise ImageReadError(
            f"{path} has {len(shape)} axes, shape {shape}; expected one 3D volume. "
            "Save one frame or channel as a file of its own."
        )
    return array.reshape(shape[:3], order="A")


def _plain_numbers(voxels: Voxels, path: Path) -> Voxels:
    if voxels.dtype.kind in "iu":
        native = voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
        return native if native.flags.writeable else native.copy()
    if voxels.dtype.kind != "f":
        raise ImageReadError(
            f"{path} holds colours or complex numbers ({voxels.dtype}); expected one real number "
            "a voxel. Convert it to grey values or magnitude first."
        )
    with np.errstate(over="ignore"):
        single = voxels.astype(np.float32)
    bad = int(np.count_nonzero(~np.isfinite(single)))
    if bad:
        raise ImageReadError(
            f"{path} holds {bad} voxels that are NaN, infinite or beyond float32; replace them by "
            "the value of the background and save it again."
        )
    return single
