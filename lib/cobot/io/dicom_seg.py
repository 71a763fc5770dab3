"""Label maps as DICOM segmentations (SEG), and back.

One binary segment a label, on the very slices of the images. Segments are numbered from 1 without
gaps, as the standard asks; the value that a label has in the map is kept in the segment's
description.
"""

import logging
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
from jaxtyping import Integer
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from cobot.atomic import atomic_path
from cobot.errors import GridMismatchError, ImageReadError
from cobot.io.dicom_algorithm import MAKER, Algorithm, unique_long_strings
from cobot.io.dicom_codes import ARTIFICIAL_INTELLIGENCE, structure_code
from cobot.io.dicom_damage import DAMAGE, damage_named
from cobot.io.dicom_seg_source import highdicom_sources, in_source_order
from cobot.io.dicom_source import DicomSource, carry_patient, labels_with_voxels, read_source
from cobot.io.unreadable import named_refusals
from cobot.shapes import LabelVoxels
from cobot.volume import LARGEST_LABEL, LabelMap

logger = logging.getLogger(__name__)

SERIES_NUMBER = 9001
"""High, so that archives list the result behind the scanner's series."""

VALUE_NOTE = re.compile(r"Label (\d+) of the label map: (.*)", re.S)
POSITION_MM = 0.01
"""Positions written as decimal strings agree to this."""


def write_dicom_seg(
    label_map: LabelMap, source: Sequence[Path], file: Path, algorithm: Algorithm
) -> None:
    """Write a label map as one DICOM SEG, whole or not at all.

    Labels without a voxel are left out, and a warning names them.

    Args:
        label_map: on the grid of the images.
        source: the slices of the series, in any order, as `scan_series` found them.
        file: where to write; usually ends in .dcm.
        algorithm: what made the map.

    Raises:
        GridMismatchError: the map is not on the images' grid, has unnamed values or no voxel.
        ImageReadError: the images cannot be read.
        ImageWriteError: the folder cannot be written.
    """
    images = read_source(source)
    images.require_grid(label_map)
    images.warn_of_new_uids()
    labels = labels_with_voxels(label_map)
    segmentation = _segmentation(_numbered(label_map.voxels, labels), images, labels, algorithm)
    carry_patient(images, segmentation)
    with atomic_path(file) as partial:
        segmentation.save_as(partial, write_like_original=False)


def read_dicom_seg(file: Path, source: Sequence[Path]) -> LabelMap:
    """Read a DICOM SEG, of this program or another, onto the grid of its images.

    Where segments overlap the one with the higher number wins. Of a fractional segmentation a
    segment has what is at least half of its largest value.

    Args:
        file: the segmentation.
        source: the slices of the series it was drawn on.

    Returns:
        The values that the map had where the file tells them, else the segments' numbers.

    Raises:
        ImageReadError: not a segmentation, or damaged.
        GridMismatchError: a frame lies on none of the images, or on other pixels.
    """
    images = read_source(source)
    with named_refusals(file), damage_named(file), warnings.catch_warnings():
        # pydicom's warnings quote values, which may be the patient's.
        warnings.simplefilter("ignore")
        return _read_onto(images, file)


def _read_onto(images: DicomSource, file: Path) -> LabelMap:
    segmentation = _read(file)
    names = _names(segmentation)
    frames = np.atleast_3d(segmentation.pixel_array >= _least_value(segmentation))
    if segmentation.get("NumberOfFrames") == 1:
        frames = frames.reshape(1, segmentation.Rows, segmentation.Columns)
    rows, cols = images.grid.slices[0].shape
    if frames.shape[1:] != (rows, cols):
        raise GridMismatchError(
            f"{file} has frames of {frames.shape[1:]} pixels, its images have {(rows, cols)}. Give "
            "the series it was drawn on."
        )
    voxels = np.zeros((cols, rows, len(images.slices)), np.uint16, order="F")
    order = sorted(range(len(frames)), key=lambda at: _segment_number(segmentation, at))
    shared = 0
    for at in order:
        value = names[_segment_number(segmentation, at)][0]
        picture = voxels[:, :, _slice_of(segmentation, at, images, file)]
        shared += int(np.count_nonzero(picture[frames[at].T]))
        picture[frames[at].T] = value
    if shared:
        logger.warning(
            "%s: segments overlap in %d voxels; the later segment has them.", file, shared
        )
    labels = dict(sorted(names.values()))
    small = np.uint8 if max(labels) <= np.iinfo(np.uint8).max else np.uint16
    return LabelMap(voxels.astype(small), images.grid.affine, labels)


def _least_value(segmentation: Dataset) -> float:
    """Of a pixel that belongs to its segment."""
    fractional = segmentation.get("SegmentationType") == "FRACTIONAL"
    return float(segmentation.get("MaximumFractionalValue") or 255) / 2 if fractional else 1.0


def _numbered(voxels: LabelVoxels, labels: dict[int, str]) -> Integer[np.ndarray, "slice row col"]:
    """The number of the segment in each pixel."""
    numbers = np.zeros(max(labels) + 1, np.uint16)
    numbers[list(labels)] = np.arange(1, len(labels) + 1)
    small = np.uint8 if len(labels) <= np.iinfo(np.uint8).max else np.uint16
    return numbers.astype(small)[voxels].transpose(2, 1, 0)


def _segmentation(
    segments: Integer[np.ndarray, "slice row col"],
    images: DicomSource,
    labels: dict[int, str],
    algorithm: Algorithm,
) -> hd.seg.Segmentation:
    return hd.seg.Segmentation(
        source_images=highdicom_sources(images),
        pixel_array=segments[in_source_order(images)],
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=_segments(labels, algorithm),
        series_instance_uid=generate_uid(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=algorithm.name,
        software_versions=algorithm.version,
        device_serial_number="none",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="SEGMENTATION",
        content_description="Segmentation for research, not for clinical use",
        series_description=algorithm.name,
    )


def _segments(labels: dict[int, str], algorithm: Algorithm) -> list[hd.seg.SegmentDescription]:
    identification = hd.AlgorithmIdentificationSequence(
        name=algorithm.name,
        family=ARTIFICIAL_INTELLIGENCE,
        version=algorithm.version,
        source=MAKER,
    )
    kinds = hd.seg.SegmentAlgorithmTypeValues
    segments = []
    short = unique_long_strings(list(labels.values()))
    for number, (value, name) in enumerate(labels.items(), start=1):
        code = structure_code(name)
        segment = hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=short[number - 1],
            segmented_property_category=code.category,
            segmented_property_type=code.kind,
            algorithm_type=kinds.AUTOMATIC if algorithm.automatic else kinds.SEMIAUTOMATIC,
            algorithm_identification=identification,
        )
        segment.SegmentDescription = f"Label {value} of the label map: {name}"
        if code.side is not None:
            side = hd.sr.CodedConcept.from_code(code.side)
            kind = segment.SegmentedPropertyTypeCodeSequence[0]
            kind.SegmentedPropertyTypeModifierCodeSequence = [side]
        segments.append(segment)
    return segments


def _read(file: Path) -> Dataset:
    try:
        dataset = hd.seg.segread(file)
    except DAMAGE as error:
        raise ImageReadError(
            f"{file} is not a DICOM segmentation, or is damaged ({type(error).__name__}); expected "
            "a SEG object. Export it again."
        ) from error
    return dataset


def _names(segmentation: Dataset) -> dict[int, tuple[int, str]]:
    """Segment number to value and name; values told in the descriptions are kept if all are."""
    segments = segmentation.SegmentSequence
    told = [VALUE_NOTE.fullmatch(str(segment.get("SegmentDescription"))) for segment in segments]
    values = [int(note[1]) for note in told if note and 1 <= int(note[1]) <= LARGEST_LABEL]
    if len(set(values)) == len(segments):
        names = [str(note[2]) for note in told if note]
    else:
        values = [int(segment.SegmentNumber) for segment in segments]
        names = [str(segment.SegmentLabel) for segment in segments]
    return {
        int(segment.SegmentNumber): (value, name)
        for segment, value, name in zip(segments, values, names, strict=True)
    }


def _segment_number(segmentation: Dataset, at: int) -> int:
    groups = segmentation.PerFrameFunctionalGroupsSequence[at]
    return int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _slice_of(segmentation: Dataset, at: int, images: DicomSource, file: Path) -> int:
    """The slice on which a frame lies, pixel on pixel."""
    groups = segmentation.PerFrameFunctionalGroupsSequence[at]
    position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, np.float64)
    orientation = _of_frame(segmentation, at, "PlaneOrientationSequence").ImageOrientationPatient
    spacing = _of_frame(segmentation, at, "PixelMeasuresSequence").PixelSpacing
    first = images.grid.slices[0]
    off_mm = np.abs(images.positions_lps_mm - position).max(axis=1)
    k = int(np.argmin(off_mm))
    if (
        off_mm[k] > POSITION_MM
        or not np.allclose(orientation, first.orientation_lps.ravel(), rtol=0, atol=1e-3)
        or not np.allclose(spacing, first.spacing_mm, rtol=1e-3, atol=0)
    ):
        raise GridMismatchError(
            f"{file}: frame {at + 1} at {position.tolist()} mm lies on none of the "
            f"{len(images.slices)} images, the nearest is {off_mm[k]:.2f} mm away. Give the series "
            "it was drawn on."
        )
    return k


def _of_frame(segmentation: Dataset, at: int, name: str) -> Dataset:
    """What a frame says itself, or else what is said for all frames."""
    groups = segmentation.PerFrameFunctionalGroupsSequence[at]
    found: Dataset = (groups if name in groups else segmentation.SharedFunctionalGroupsSequence[0])[
        name
    ][0]
    return found
