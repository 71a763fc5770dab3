"""NRRD and MetaImage files through SimpleITK: its patient axes are LPS, its arrays k j i."""

from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import SimpleITK as sitk

from cobot.atomic import atomic_path
from cobot.errors import ImageReadError, ImageWriteError
from cobot.io.label_names import from_segments, to_segments
from cobot.io.packed_voxels import require_whole_voxels
from cobot.io.sparse_gzip import gzip_voxels
from cobot.io.voxels import empty_volume, volume_from
from cobot.shapes import Affine
from cobot.volume import LabelMap, Volume

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])


def read_itk(path: Path) -> tuple[Volume, dict[int, str]]:
    """Read a .nrrd, .nhdr, .mha or .mhd file: its volume and its label names.

    Returns:
        The volume, and the names in its Segment fields; empty for other images.

    Raises:
        ImageReadError: damaged, not one 3D volume, or without a usable affine.
    """
    require_whole_voxels(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _damaged(path, error) from error
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise ImageReadError(
            f"{path} holds {image.GetNumberOfComponentsPerPixel()} numbers a voxel (colours, "
            "vectors or layers); expected one. Save one channel or one layer as a file of its own."
        )
    # SimpleITK cannot be asked for a key that is no UTF-8, and none of those is a segment's.
    keys = [key for key in image.GetMetaDataKeys() if key.isascii()]
    fields = {key: image.GetMetaData(key) for key in keys}
    if _is_meta_image(path):
        fields = {key: unquote(value) for key, value in fields.items()}
    array = sitk.GetArrayFromImage(image)
    return volume_from(array.T, _affine_of(image), path), from_segments(fields)


def itk_grid(path: Path) -> Volume:
    """The grid of an ITK file from its header alone, as an empty volume.

    Raises:
        ImageReadError: the header is damaged.
    """
    header = _header(path)
    return empty_volume(header.GetSize(), _affine_of(header), path)


def write_itk(label_map: LabelMap, path: Path, like: Path | None) -> None:
    """Write a label map as .nrrd or .mha, compressed, with its names in Segment fields.

    Args:
        label_map: what to write, as uint8 or uint16 already.
        path: ends in .nrrd or .mha.
        like: the ITK file whose origin, spacing and direction are copied, or None: then they are
            made from the affine.

    Raises:
        ImageWriteError: the folder cannot be written.
    """
    with atomic_path(path) as partial:
        try:
            if _is_meta_image(path):
                image = sitk.GetImageFromArray(label_map.voxels.T)
                _describe(image, label_map, path, like)
                sitk.WriteImage(image, str(partial), useCompression=True)
            else:
                _write_nrrd(label_map, partial, like)
        except RuntimeError as error:
            raise ImageWriteError(
                f"{path} could not be written ({_last_line(error)}). "
                "Choose an existing folder you may write to, with space left."
            ) from error


def _write_nrrd(label_map: LabelMap, partial: Path, like: Path | None) -> None:
    """ITK's header of a single voxel, its size corrected, before voxels we compress ourselves.

    ITK takes several times as long for a mask on one slice, half of it to allocate a second volume.
    """
    voxels = label_map.voxels
    single = sitk.GetImageFromArray(np.zeros((1, 1, 1), voxels.dtype))
    _describe(single, label_map, partial, like)
    sitk.WriteImage(single, str(partial), useCompression=True)
    header, _, _ = partial.read_bytes().partition(b"\n\n")
    sizes = "sizes: {} {} {}".format(*voxels.shape).encode()
    header = header.replace(b"\nsizes: 1 1 1\n", b"\n" + sizes + b"\n", 1)
    with partial.open("wb") as file:
        file.write(header + b"\n\n")
        # ITK wrote the machine's byte order into the header.
        file.writelines(gzip_voxels(voxels.astype(voxels.dtype.newbyteorder("="), copy=False)))


def _describe(image: sitk.Image, label_map: LabelMap, path: Path, like: Path | None) -> None:
    """Give an image its place and the names of its labels."""
    if like is None:
        _place(image, label_map.affine)
    else:
        _place_like(image, like)
    for key, value in to_segments(label_map.labels).items():
        image.SetMetaData(key, quote(value) if _is_meta_image(path) else value)


def _is_meta_image(path: Path) -> bool:
    """Whether header values are cut at the first letter that is not ASCII, so names are quoted."""
    return path.suffix.lower() in (".mha", ".mhd")


def _affine_of(image: Any) -> Affine:
    """The affine of an image's, or a file reader's, first three axes; a fourth is time."""
    dimension = min(image.GetDimension(), 3)
    direction = np.array(image.GetDirection()).reshape(image.GetDimension(), -1)
    axes = direction[:dimension, :dimension] * image.GetSpacing()[:dimension]
    affine = np.eye(4)
    affine[:dimension, :dimension] = RAS_FROM_LPS[:dimension, :dimension] @ axes
    affine[:dimension, 3] = RAS_FROM_LPS[:dimension, :dimension] @ image.GetOrigin()[:dimension]
    return affine


def _place(image: sitk.Image, affine: Affine) -> None:
    axes = RAS_FROM_LPS @ affine[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((axes / spacing).ravel().tolist())
    image.SetOrigin((RAS_FROM_LPS @ affine[:3, 3]).tolist())


def _place_like(image: sitk.Image, like: Path) -> None:
    source = _header(like)
    dimension = source.GetDimension()
    direction = np.array(source.GetDirection()).reshape(dimension, -1)[:3, :3]
    image.SetSpacing(source.GetSpacing()[:3])
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin(source.GetOrigin()[:3])


def _header(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _damaged(path, error) from error
    return reader


def _damaged(path: Path, error: RuntimeError) -> ImageReadError:
    return ImageReadError(
        f"{path} could not be read ({_last_line(error)}); it is damaged, incomplete or of another "
        "format. Copy it again, with its data file if it has one."
    )


def _last_line(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
