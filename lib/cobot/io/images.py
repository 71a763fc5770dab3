"""One way in and one way out for every image format."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from cobot.errors import ImageReadError, ImageWriteError
from cobot.io.dicom_headers import is_dicom
from cobot.io.dicom_series import dicom_grid, read_dicom_series
from cobot.io.itk_images import itk_grid, read_itk, write_itk
from cobot.io.label_names import check_names
from cobot.io.nifti import nifti_grid, read_nifti, write_nifti
from cobot.io.unreadable import named_refusals
from cobot.shapes import LabelVoxels
from cobot.volume import LARGEST_LABEL, LabelMap, Volume

NIFTI_SUFFIXES = (".nii", ".nii.gz")
ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
ITK_WRITTEN_SUFFIXES = (".nrrd", ".mha")
"""Formats of one file; .nhdr and .mhd keep voxels in a second and could not appear at once."""

SMALL_LABEL = 255
"""The largest value of uint8."""


def read_volume(path: Path) -> Volume:
    """Read a 3D image.

    Args:
        path: a .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd file, a folder with one DICOM series, or
            one DICOM file (of any name) of the wanted series.

    Returns:
        Integers as stored where the file scales nothing, else float32; CT in DICOM in HU.

    Raises:
        ImageReadError: missing, of another format, damaged, or not one 3D volume; the message
            names the file and the cure.
    """
    return _read(path)[0]


def read_grid(path: Path) -> Volume:
    """The grid alone, from headers, as a volume without contents: `read_volume` at no cost.

    Raises:
        ImageReadError: as for `read_volume`.
    """
    with named_refusals(path):
        kind = _kind(path)
        if kind == "nifti":
            return nifti_grid(path)
        return itk_grid(path) if kind == "itk" else dicom_grid(path)


def read_label_map(path: Path, labels: Mapping[int, str] | None = None) -> LabelMap:
    """Read a label map and its names.

    Args:
        path: an image file as for `read_volume`.
        labels: value to name, without background; None takes the names stored in the file, and
            `label_<value>` for values without one.

    Returns:
        uint8, or uint16 where a value is above 255.

    Raises:
        ImageReadError: as for `read_volume`; values that are not whole numbers from 0 to 65535;
            values that the given `labels` do not name.
    """
    volume, stored = _read(path)
    voxels = _label_voxels(volume, path)
    found = {int(value) for value in np.unique(voxels)} - {0}
    if labels is None:
        labels = {value: f"label_{value}" for value in sorted(found)} | stored
    unnamed = sorted(found - set(labels))
    if unnamed:
        raise ImageReadError(
            f"{path} holds values {unnamed} that no label names; known are {dict(labels)}. "
            "Name them too, or remove them from the file."
        )
    return LabelMap(voxels, volume.affine, dict(labels))


def write_label_map(label_map: LabelMap, path: Path, like: Path | None = None) -> None:
    """Write a label map with its names: compressed, whole or not at all.

    Args:
        label_map: what to write; stored as uint8, or uint16 where a value is above 255.
        path: ends in .nii.gz, .nii (not compressed), .nrrd or .mha.
        like: the image it was drawn on. Where both are NIfTI the written affine equals the
            image's bit by bit, with its codes; for other pairs the affine of the map is written.

    Raises:
        ImageWriteError: wrong suffix, a label name that is not one line, or an unwritable folder.
        GridMismatchError: `like` has another shape or affine than the map.
        ImageReadError: `like` cannot be read.
    """
    if not _has_suffix(path, NIFTI_SUFFIXES + ITK_WRITTEN_SUFFIXES):
        raise ImageWriteError(
            f"{path} ends in a suffix that is not written here; expected one of "
            f"{', '.join(NIFTI_SUFFIXES + ITK_WRITTEN_SUFFIXES)}. Choose .nii.gz if unsure."
        )
    check_names(label_map.labels, path)
    if like is not None:
        label_map.require_same_grid(read_grid(like))
    compact = replace(label_map, voxels=_compact(label_map.voxels, path))
    if _has_suffix(path, NIFTI_SUFFIXES):
        write_nifti(compact, path, like if like and _has_suffix(like, NIFTI_SUFFIXES) else None)
    else:
        write_itk(compact, path, like if like and _has_suffix(like, ITK_SUFFIXES) else None)


def _read(path: Path) -> tuple[Volume, dict[int, str]]:
    """The volume in a file or folder, and the label names it carries."""
    with named_refusals(path):
        kind = _kind(path)
        if kind == "nifti":
            return read_nifti(path)
        return read_itk(path) if kind == "itk" else (read_dicom_series(path), {})


def _kind(path: Path) -> Literal["nifti", "itk", "dicom"]:
    if path.is_dir():
        return "dicom"
    if not path.exists():
        raise ImageReadError(f"{path} does not exist; check the name and the folder.")
    if path.stat().st_size == 0:
        raise ImageReadError(f"{path} is empty (0 bytes); copy it again from its source.")
    if _has_suffix(path, NIFTI_SUFFIXES):
        return "nifti"
    if _has_suffix(path, ITK_SUFFIXES):
        return "itk"
    if is_dicom(path):
        return "dicom"
    raise ImageReadError(
        f"{path} is not an image format that is read here; expected "
        f"{', '.join(NIFTI_SUFFIXES + ITK_SUFFIXES)}, a DICOM file or a folder with one DICOM "
        "series. Convert it to .nii.gz first."
    )


def _has_suffix(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.name.lower().endswith(suffixes)


def _label_voxels(volume: Volume, path: Path) -> LabelVoxels:
    """Values as the smallest label type; a label map stored as floating point is common."""
    voxels = volume.voxels
    lowest, highest = voxels.min(), voxels.max()
    if lowest < 0 or highest > LARGEST_LABEL or not np.array_equal(voxels, np.rint(voxels)):
        raise ImageReadError(
            f"{path} is not a label map: values run from {lowest} to {highest}; expected whole "
            f"numbers from 0 to {LARGEST_LABEL}. Is it the image or a probability map?"
        )
    return voxels.astype(np.uint8 if highest <= SMALL_LABEL else np.uint16)


def _compact(voxels: LabelVoxels, path: Path) -> LabelVoxels:
    unsigned = voxels.dtype.kind == "u"
    lowest, highest = 0 if unsigned else int(voxels.min()), int(voxels.max())
    if lowest < 0 or highest > LARGEST_LABEL:
        raise ImageWriteError(
            f"{path} was not written: label values run from {lowest} to {highest}; "
            f"expected 0 to {LARGEST_LABEL}. Renumber the labels."
        )
    return voxels.astype(np.uint8 if highest <= SMALL_LABEL else np.uint16, copy=False)
