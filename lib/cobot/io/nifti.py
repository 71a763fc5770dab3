"""NIfTI-1 and NIfTI-2 files: volumes in, label maps out on the very same affine.

Where a file has both transforms the sform counts, as in nibabel and the standard. A file with
neither (both codes 0) is read with the standard's fallback, voxel sizes around the centre with i
towards the left, and a warning is logged: programs disagree about left and right there, but a
mask is still right voxel by voxel, because it is written back with the same empty codes.
"""

import gzip
import io
import logging
import zlib
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Extension, Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from cobot.atomic import atomic_path
from cobot.errors import ImageReadError
from cobot.io.label_names import from_json, from_label_table, to_json
from cobot.io.voxels import empty_volume, volume_from
from cobot.volume import LabelMap, Volume

logger = logging.getLogger(__name__)

GZIP_MAGIC = b"\x1f\x8b"
COMMENT_CODE = 6
"""The standard's number for a header extension that holds plain text."""

TABLE_CODES = (0, 30)
"""Extensions that hold a label table: of no stated kind (TotalSegmentator), and Caret's."""

HEADER_CLASSES = {348: Nifti1Header, 540: Nifti2Header}
"""The first four bytes give the header's length and so the version."""

IMAGE_CLASSES = {Nifti1Header: nib.Nifti1Image, Nifti2Header: nib.Nifti2Image}
SPACE_BITS = 0b111
"""Of xyzt_units; the others tell the unit of time, and nibabel knows not all that are written."""

SPACE_UNITS = {1: "meter", 3: "micron"}
UNITS_MM = (0, 2)
"""Not stated, and stated as mm."""

PLACEMENT_FIELDS = (
    *("sform_code", "srow_x", "srow_y", "srow_z", "qform_code", "quatern_b", "quatern_c"),
    *("quatern_d", "qoffset_x", "qoffset_y", "qoffset_z", "xyzt_units"),
)
"""The header fields that place voxels; copied as they are, so an affine stays equal bit by bit."""


def read_nifti(path: Path) -> tuple[Volume, dict[int, str]]:
    """Read a .nii or .nii.gz file: its volume, scl_slope applied, and its label names.

    Returns:
        The volume, and the names a label map carries; empty for other images.

    Raises:
        ImageReadError: damaged, not one 3D volume, or without a usable affine.
    """
    image = _image(path)
    labels: dict[int, str] = {}
    for extension in image.header.extensions:
        if extension.get_code() == COMMENT_CODE:
            labels |= from_json(bytes(extension.content))
        elif extension.get_code() in TABLE_CODES:
            labels |= from_label_table(bytes(extension.content))
    return _volume_from(image, path), labels


def nifti_grid(path: Path) -> Volume:
    """The grid of a NIfTI file from its header alone, as an empty volume.

    Raises:
        ImageReadError: the header is damaged.
    """
    header = _header(path)
    return empty_volume(header.get_data_shape(), header.get_best_affine(), path)


def write_nifti(label_map: LabelMap, path: Path, like: Path | None) -> None:
    """Write a label map, with its names in a comment extension.

    Args:
        label_map: what to write, as uint8 or uint16 already.
        path: ends in .nii or .nii.gz.
        like: the NIfTI file whose sform, qform, codes and units are copied bit by bit, or None:
            then both are made from the affine (a sheared one has no qform), in float32.

    Raises:
        ImageWriteError: the folder cannot be written.
        ImageReadError: `like` cannot be read.
    """
    header = _fresh_header(label_map) if like is None else _header_like(like)
    header.set_data_dtype(label_map.voxels.dtype)
    header.set_data_shape(label_map.voxels.shape)
    header.extensions.append(Nifti1Extension("comment", to_json(label_map.labels)))
    # Without an affine of its own the image keeps the header's transforms untouched.
    image_class: Any = IMAGE_CLASSES[type(header)]
    image = image_class(label_map.voxels, None, header)
    with atomic_path(path) as partial:
        nib.save(image, partial)


def _fresh_header(label_map: LabelMap) -> Nifti1Header:
    header = Nifti1Header()
    header.set_data_shape(label_map.voxels.shape)
    header.set_qform(label_map.affine, code="scanner", strip_shears=True)
    header.set_sform(label_map.affine, code="scanner")
    header.set_xyzt_units("mm")
    if not np.allclose(header.get_qform(), label_map.affine, rtol=0, atol=1e-3):
        header["qform_code"] = 0
    return header


def _header_like(like: Path) -> Nifti1Header:
    source = _header(like)
    header = type(source)()
    # pixdim[0] is the qform's handedness; the entries after the third belong to frames.
    header["pixdim"][:4] = source["pixdim"][:4]
    for field in PLACEMENT_FIELDS:
        header[field] = source[field]
    return header


def _header(path: Path) -> Nifti1Header:
    try:
        image: nib.Nifti1Image = nib.load(path)  # type: ignore[assignment]
    except (HeaderDataError, ImageFileError, ValueError, OSError, EOFError, zlib.error) as error:
        raise _damaged(path, error) from error
    return image.header


def _volume_from(image: nib.Nifti1Image, path: Path) -> Volume:
    try:
        affine = image.header.get_best_affine()
        data: Any = image.dataobj
        scaled = (data.slope, data.inter) != (1.0, 0.0)
        array = np.asarray(data, np.float32) if scaled else np.asarray(data)
    except (HeaderDataError, ValueError, TypeError, OSError, OverflowError) as error:
        raise _damaged(path, error) from error
    if image.header["sform_code"] == 0 and image.header["qform_code"] == 0:
        logger.warning(
            "%s has neither sform nor qform: left and right are a guess from the standard's "
            "fallback. Convert it again from its DICOM source to be sure.",
            path,
        )
    return volume_from(array, np.asarray(affine, np.float64), path)


def _image(path: Path) -> nib.Nifti1Image:
    payload = _payload(path)
    header_class = _header_class(payload, path)
    try:
        _check_header(header_class.from_fileobj(io.BytesIO(payload), check=False), path)
        return IMAGE_CLASSES[header_class].from_bytes(payload)
    except (HeaderDataError, ImageFileError, ValueError, OSError, OverflowError) as error:
        if isinstance(error, ImageReadError):
            raise
        raise _damaged(path, error) from error


def _payload(path: Path) -> bytes:
    """The whole file, unpacked: reading it to the end is what checks gzip's checksum."""
    data = path.read_bytes()
    packed = data[:2] == GZIP_MAGIC
    named_packed = path.name.lower().endswith(".gz")
    if packed != named_packed:
        really, name = ("gzip data", ".nii.gz") if packed else ("not gzip data", ".nii")
        raise ImageReadError(
            f"{path} holds {really} in spite of its name; if it is whole, rename it to {name}, "
            "otherwise copy it again."
        )
    try:
        return gzip.decompress(data) if packed else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, error) from error


def _header_class(payload: bytes, path: Path) -> type[Nifti1Header]:
    orders: tuple[Literal["little", "big"], ...] = ("little", "big")
    for order in orders:
        length = int.from_bytes(payload[:4], order)
        if length in HEADER_CLASSES and len(payload) >= length:
            return HEADER_CLASSES[length]
    raise ImageReadError(
        f"{path} has no NIfTI header; expected a NIfTI-1 or NIfTI-2 file. "
        "Convert the image again from its source."
    )


def _check_header(header: Nifti1Header, path: Path) -> None:
    """Look at what nibabel would quietly repair: pixdim; and at what it ignores: units."""
    pixdim = header["pixdim"][1:4]
    unused = np.arange(1, 4) > header["dim"][0]
    if not ((pixdim > 0) & np.isfinite(pixdim) | unused).all():
        raise ImageReadError(
            f"{path} has spacing (pixdim) {pixdim.tolist()} mm; expected three positive numbers. "
            "Its header is damaged: convert the image again from its source."
        )
    units = int(header["xyzt_units"]) & SPACE_BITS
    if units not in UNITS_MM:
        raise ImageReadError(
            f"{path} gives positions in {SPACE_UNITS.get(units, f'unit {units}')}; "
            "expected mm. Save it again in millimetres."
        )


def _damaged(path: Path, error: Exception) -> ImageReadError:
    return ImageReadError(
        f"{path} is damaged or incomplete ({error}); expected a whole NIfTI file. "
        "Copy it again, or convert it again from its source."
    )
