"""The files of one case: mask, tables, colours, and what DICOM wants."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cobot.batch.case_names import case_name
from cobot.batch.colours import itksnap_table, slicer_table
from cobot.batch.segmenting import SegmentedCase
from cobot.errors import GridMismatchError
from cobot.io import write_label_map
from cobot.io.dicom_algorithm import Algorithm
from cobot.volume import LabelMap

DicomWriter = Callable[[LabelMap, Sequence[Path], Path, Algorithm], None]


@dataclass(frozen=True, slots=True)
class WantedFiles:
    """What is written beside mask, tables and colours.

    Attributes:
        separate: one file for each label.
        dicom_seg: DICOM SEG, for cases that came from DICOM.
        rtstruct: RTSTRUCT, for cases that came from DICOM.
        algorithm: what DICOM objects name as their maker.
    """

    separate: bool = False
    dicom_seg: bool = False
    rtstruct: bool = False
    algorithm: Algorithm = Algorithm()


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """What was written.

    Attributes:
        names: kind to file name, the record's among them although it comes last.
        warnings: what was wanted and could not be.
    """

    names: Mapping[str, str]
    warnings: tuple[str, ...]


def write_outputs(
    done: SegmentedCase, volume_ml: Mapping[str, float], folder: Path, wanted: WantedFiles
) -> WrittenFiles:
    """Fill a case's folder, all but the record.

    Raises:
        ImageWriteError: the disk is full, or nothing may be written there.
        ImageReadError: the image, whose header is copied, is gone.
    """
    case, label_map = done.prepared.case, done.label_map
    axis = "ijk"[done.prepared.plane.axis]
    like = None if case.is_dicom else case.path
    names = {
        "mask": f"{case.name}.nii.gz",
        "labels_slicer": "labels.ctbl",
        "labels_itksnap": "labels.txt",
        "volumes": "volumes.csv",
        "confidence": "confidence.csv",
        "record": f"{case.name}.json",
    }
    write_label_map(label_map, folder / names["mask"], like)
    _text(folder / names["labels_slicer"], slicer_table(label_map.labels))
    _text(folder / names["labels_itksnap"], itksnap_table(label_map.labels))
    _table(
        folder / names["volumes"],
        ("label", "value", "volume_ml"),
        ((name, value, volume_ml[name]) for value, name in label_map.labels.items()),
    )
    _table(
        folder / names["confidence"],
        ("label", "axis", "slice", "confidence"),
        (
            (label, axis, index, number)
            for label, by_slice in done.confidence.items()
            for index, number in by_slice.items()
        ),
    )
    if wanted.separate:
        names |= _separate(label_map, folder, like)
    warnings: list[str] = []
    for kind, writer in _dicom_writers(wanted).items():
        name = f"{case.name}_{kind.removeprefix('dicom_')}.dcm"
        trouble = _dicom(done, folder / name, writer, wanted.algorithm)
        if trouble is None:
            names[kind] = name
        else:
            warnings.append(f"no {kind} was written: {trouble}")
    return WrittenFiles(names, tuple(warnings))


def _dicom_writers(wanted: WantedFiles) -> dict[str, DicomWriter]:
    """Kind to what writes it; the libraries behind are slow to load and loaded when wanted."""
    writers: dict[str, DicomWriter] = {}
    if wanted.dicom_seg:
        from cobot.io.dicom_seg import write_dicom_seg

        writers["dicom_seg"] = write_dicom_seg
    if wanted.rtstruct:
        from cobot.io.rtstruct import write_rtstruct

        writers["rtstruct"] = write_rtstruct
    return writers


def _dicom(
    done: SegmentedCase, file: Path, writer: DicomWriter, algorithm: Algorithm
) -> str | None:
    """Write one DICOM object; returns why it cannot be."""
    case = done.prepared.case
    if not case.is_dicom:
        return "the image is not a DICOM series"
    try:
        writer(done.label_map, case.files, file, algorithm)
    except GridMismatchError as error:
        return str(error)
    return None


def _separate(label_map: LabelMap, folder: Path, like: Path | None) -> dict[str, str]:
    """One file of zeros and ones for each label; names that would be one file get their value."""
    names: dict[str, str] = {}
    for value, label in label_map.labels.items():
        name = f"{case_name(label.replace('/', '_'))}.nii.gz"
        if (folder / name).exists():
            name = f"{name.removesuffix('.nii.gz')}_{value}.nii.gz"
        alone = LabelMap((label_map.voxels == value).astype(np.uint8), label_map.affine, {1: label})
        write_label_map(alone, folder / name, like)
        names[f"mask:{label}"] = name
    return names


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _table(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)
