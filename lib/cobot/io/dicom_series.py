"""A folder of DICOM slices as one volume."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from cobot.errors import ImageReadError
from cobot.io.dicom_damage import damage_named
from cobot.io.dicom_grid import SliceGrid, slice_grid
from cobot.io.dicom_headers import SliceHeader, is_dicom, is_image, read_dataset, slice_headers
from cobot.io.dicom_pixels import read_slices
from cobot.io.unreadable import named_refusals
from cobot.io.voxels import empty_volume, volume_from
from cobot.volume import Volume


def read_dicom_series(path: Path) -> Volume:
    """Read the series in a folder, or the series that one file belongs to.

    The folder itself is searched, not those inside it. Files that are not DICOM, and DICOM
    objects without a picture (structure sets, reports), are passed over. The frames of an enhanced
    image are slices. i counts columns, j rows
    and k slices, ascending along row direction x column direction, as in ITK.

    Args:
        path: a folder that holds one series, or one file of the wanted series among others.

    Returns:
        int16 where all values fit (CT), else int32 or float32.

    Raises:
        ImageReadError: names the files and the cure.
    """
    return _volume(_grid(path), path)


def read_dicom_files(paths: Sequence[Path]) -> Volume:
    """Read the series that these files make, wherever they lie, as `scan_series` found them.

    Returns:
        As `read_dicom_series`.

    Raises:
        ImageReadError: no file is given, one of them is no slice, or as for `read_dicom_series`.
    """
    grid = dicom_files_grid(paths)
    with named_refusals(paths[0].parent):
        return _volume(grid, paths[0].parent)


def dicom_files_grid(paths: Sequence[Path]) -> SliceGrid:
    """The slices of these files in the order of their positions, and their grid; no pixels.

    Raises:
        ImageReadError: as for `read_dicom_files`, but for the pixels.
    """
    if not paths:
        raise ImageReadError("No file is given; expected the slices of one DICOM series.")
    with named_refusals(paths[0].parent):
        return slice_grid(_headers((path, read_dataset(path)) for path in paths))


def _volume(grid: SliceGrid, path: Path) -> Volume:
    files = {file: read_slices(file) for file in grid.paths}
    slices = [files[header.path][(header.frame or 1) - 1] for header in grid.slices]
    for header, pixels in zip(grid.slices, slices, strict=True):
        if pixels.shape != header.shape:
            raise ImageReadError(
                f"{header.place} holds a picture of {pixels.shape}, its header says "
                f"{header.shape}; export it again."
            )
    # Pictures are row col; voxels are i (column) j (row) k.
    voxels = np.stack([pixels.T for pixels in slices], axis=2)
    return volume_from(_narrow(voxels), grid.affine, path)


def dicom_grid(path: Path) -> Volume:
    """The grid of a series from its headers alone, as an empty volume.

    Raises:
        ImageReadError: as for `read_dicom_series`, but for the pixels.
    """
    grid = _grid(path)
    rows, cols = grid.slices[0].shape
    return empty_volume((cols, rows, len(grid.slices)), grid.affine, path)


def _grid(path: Path) -> SliceGrid:
    return slice_grid(_series_in(path) if path.is_dir() else _series_of(path))


def _narrow(voxels: np.ndarray) -> np.ndarray:
    """Whole numbers that fit as int16: a quarter of the memory of float64."""
    limits = np.iinfo(np.int16)
    if voxels.dtype.kind in "iu" and limits.min <= voxels.min() and voxels.max() <= limits.max:
        return voxels.astype(np.int16)
    return voxels


def _series_in(folder: Path) -> list[SliceHeader]:
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and is_dicom(file)]
    if not files:
        inside = sorted(child.name for child in folder.iterdir() if child.is_dir())
        hint = f"Give one of the folders inside: {', '.join(inside[:5])}." if inside else ""
        raise ImageReadError(
            f"{folder} holds no DICOM file; expected the slices of one series. "
            f"{hint or 'Give the folder that holds them.'}"
        )
    datasets = [(file, read_dataset(file)) for file in files]
    headers = _headers((file, data) for file, data in datasets if is_image(data))
    if not headers:
        raise ImageReadError(
            f"{folder} holds DICOM objects without pixel data only, such as {files[0].name}; "
            "give the folder of the images they belong to."
        )
    return headers


def _series_of(file: Path) -> list[SliceHeader]:
    wanted = read_dataset(file)
    if not is_image(wanted):
        raise ImageReadError(
            f"{file} is a DICOM object without pixel data; give a file of the images."
        )
    series = _series_uid(wanted, file)
    siblings = [other for other in sorted(file.parent.iterdir()) if other.is_file()]
    datasets = [(other, read_dataset(other)) for other in siblings if is_dicom(other)]
    return _headers(
        (other, data)
        for other, data in datasets
        if is_image(data) and _series_uid(data, other) == series
    )


def _series_uid(dataset: Dataset, file: Path) -> str:
    with damage_named(file):
        return str(dataset.get("SeriesInstanceUID") or "")


def _headers(files: Iterable[tuple[Path, Dataset]]) -> list[SliceHeader]:
    return [header for file, dataset in files for header in slice_headers(dataset, file)]
