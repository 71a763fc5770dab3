"""DICOM objects as other programs read them, for scripts/bench_dicom_roundtrip.py.

Each gives voxels i j k on the grid of a label map, with that map's values.
"""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pydicom_seg
import SimpleITK as sitk
from cobot.volume import LabelMap
from matplotlib.path import Path as Polygon
from rt_utils import RTStructBuilder


def simpleitk_voxels(file: Path) -> np.ndarray:
    """An image file as SimpleITK reads it."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file))).T


def highdicom_voxels(file: Path, source: Sequence[Path], like: LabelMap) -> np.ndarray:
    """Each slice asked for by the SOPInstanceUID of its image, as viewers do."""
    segmentation = hd.seg.segread(file)
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in source]
    headers.sort(key=lambda header: float(header.ImagePositionPatient[2]))
    pixels = segmentation.get_pixels_by_source_instance(
        [header.SOPInstanceUID for header in headers], assert_missing_frames_are_empty=True
    )
    voxels = np.zeros_like(like.voxels)
    for number, value in enumerate(_values_by_name(segmentation, like)):
        voxels[pixels[..., number].astype(bool).transpose(2, 1, 0)] = value
    return voxels


def pydicom_seg_voxels(file: Path, like: LabelMap) -> np.ndarray:
    """By position alone: each segment as an image in space, put onto the grid of the map."""
    dataset = pydicom.dcmread(file)
    read = pydicom_seg.SegmentReader().read(dataset)
    grid = sitk.GetImageFromArray(like.voxels.T)
    axes = np.diag([-1, -1, 1]) @ like.affine[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    grid.SetSpacing(spacing.tolist())
    grid.SetDirection((axes / spacing).ravel().tolist())
    grid.SetOrigin((like.affine[:3, 3] * [-1, -1, 1]).tolist())
    voxels = np.zeros_like(like.voxels)
    for number, value in enumerate(_values_by_name(dataset, like), start=1):
        segment = sitk.Resample(
            read.segment_image(number), grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0
        )
        voxels[sitk.GetArrayFromImage(segment).T.astype(bool)] = value
    return voxels


def polygon_voxels(file: Path, like: LabelMap) -> np.ndarray:
    """The voxels whose centres lie in an odd number of contours, in patient millimetres."""
    dataset = pydicom.dcmread(file)
    names = {roi.ROINumber: roi.ROIName for roi in dataset.StructureSetROISequence}
    ijk_from_lps = np.linalg.inv(np.diag([-1, -1, 1, 1]) @ like.affine)
    i, j = np.indices(like.voxels.shape[:2]).reshape(2, -1)
    centres = np.column_stack([i, j])
    voxels = np.zeros_like(like.voxels)
    for structure in dataset.ROIContourSequence:
        inside = np.zeros(like.voxels.shape, bool)
        for contour in structure.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            ijk = points @ ijk_from_lps[:3, :3].T + ijk_from_lps[:3, 3]
            k = round(float(ijk[0, 2]))
            near = ((centres >= ijk[:, :2].min(0)) & (centres <= ijk[:, :2].max(0))).all(axis=1)
            found = centres[near][Polygon(ijk[:, :2]).contains_points(centres[near])]
            inside[found[:, 0], found[:, 1], k] ^= True
        voxels[inside] = _value(names[structure.ReferencedROINumber], like)
    return voxels


def rt_utils_voxels(file: Path, series: Path, like: LabelMap) -> np.ndarray:
    """As rt-utils fills contours: right for square pictures of square pixels."""
    # It announces every file on standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        structures = RTStructBuilder.create_from(str(series), str(file))
        masks = {name: structures.get_roi_mask_by_name(name) for name in structures.get_roi_names()}
    voxels = np.zeros_like(like.voxels)
    for name, mask in masks.items():
        voxels[mask.transpose(1, 0, 2)] = _value(name, like)
    return voxels


def _values_by_name(segmentation: pydicom.Dataset, like: LabelMap) -> list[int]:
    return [_value(str(segment.SegmentLabel), like) for segment in segmentation.SegmentSequence]


def _value(name: str, like: LabelMap) -> int:
    (value,) = (value for value, label in like.labels.items() if label == name)
    return value
