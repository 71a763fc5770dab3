"""The third stage: a case's files, and the record that tells of them."""

import csv
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import numpy as np

from cobot.batch.case_folder import replaced_folder
from cobot.batch.case_names import case_name
from cobot.batch.colours import itksnap_table, slicer_table
from cobot.batch.inputs import InputCase, Unusable
from cobot.batch.paths import relative_path
from cobot.batch.reading import FailedCase
from cobot.batch.record import CaseRecord, Provenance
from cobot.batch.segmenting import SegmentedCase
from cobot.batch.settings import CaseSettings
from cobot.intensity import IntensityWindow
from cobot.io import write_label_map
from cobot.volume import LabelMap

MakeProvenance = Callable[[IntensityWindow | None], Provenance]


@dataclass(frozen=True, slots=True)
class CaseWriter:
    """Writes cases into one output folder.

    Attributes:
        out: the folder.
        settings: what else is written beside the mask.
        settings_sha256: of everything but input and prompts.
        provenance: of a case, given its window.
    """

    out: Path
    settings: CaseSettings
    settings_sha256: str
    provenance: MakeProvenance

    def write(self, done: SegmentedCase, prompts_sha256: str) -> CaseRecord:
        """Write a case's folder: all of its files appear at once.

        Raises:
            ImageWriteError: the disk is full, or nothing may be written there.
        """
        started = time.perf_counter()
        case, label_map = done.prepared.case, done.label_map
        volume_ml = volumes_ml(label_map)
        with replaced_folder(self.out, case.name) as folder:
            outputs = self._files(done, volume_ml, folder)
            record = self._record(case, "done", prompts_sha256).model_copy(
                update={
                    "fingerprint": done.prepared.fingerprint,
                    "outputs": {kind: f"{case.name}/{name}" for kind, name in outputs.items()},
                    "labels": dict(label_map.labels),
                    "volume_ml": volume_ml,
                    "confidence": done.confidence,
                    "axis": "ijk"[done.prepared.plane.axis],
                    "warnings": _warnings(done),
                    "provenance": self.provenance(done.prepared.window),
                    "seconds": {
                        "read": round(done.prepared.seconds, 4),
                        "segment": round(done.seconds, 4),
                        "write": round(time.perf_counter() - started, 4),
                    },
                }
            )
            text = record.model_dump_json(indent=2)
            (folder / outputs["record"]).write_text(text + "\n", encoding="utf-8")
        return record

    def failed(self, failed: FailedCase, prompts_sha256: str) -> CaseRecord:
        """The record of a case that could not be segmented."""
        return self._record(failed.case, "failed", prompts_sha256).model_copy(
            update={"error": failed.error, "fingerprint": failed.fingerprint}
        )

    def unusable(self, found: Unusable) -> CaseRecord:
        """The record of something that is no image to segment."""
        return CaseRecord(
            case=found.name,
            status="failed" if found.is_fault else "skipped",
            error=found.reason,
            input=relative_path(found.path, self.out),
            settings_sha256=self.settings_sha256,
            finished_at=datetime.now(timezone.utc),
        )

    def _record(
        self, case: InputCase, status: Literal["done", "failed"], prompts_sha256: str
    ) -> CaseRecord:
        return CaseRecord(
            case=case.name,
            status=status,
            input=relative_path(case.path, self.out),
            input_files=len(case.files),
            settings_sha256=self.settings_sha256,
            prompts_sha256=prompts_sha256,
            finished_at=datetime.now(timezone.utc),
        )

    def _files(
        self, done: SegmentedCase, volume_ml: Mapping[str, float], folder: Path
    ) -> dict[str, str]:
        """Write everything but the record; kind to file name, the record's among them."""
        case, label_map = done.prepared.case, done.label_map
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
        write_text(folder / names["labels_slicer"], slicer_table(label_map.labels))
        write_text(folder / names["labels_itksnap"], itksnap_table(label_map.labels))
        write_table(
            folder / names["volumes"],
            ("label", "value", "volume_ml"),
            ((name, value, volume_ml[name]) for value, name in label_map.labels.items()),
        )
        write_table(
            folder / names["confidence"],
            ("label", "axis", "slice", "confidence"),
            (
                (label, "ijk"[done.prepared.plane.axis], index, number)
                for label, by_slice in done.confidence.items()
                for index, number in by_slice.items()
            ),
        )
        if self.settings.separate:
            names |= _write_separate(label_map, folder, like)
        return names


def volumes_ml(label_map: LabelMap) -> dict[str, float]:
    """Label to millilitres, to the microlitre."""
    voxel_ml = abs(float(np.linalg.det(label_map.affine[:3, :3]))) / 1000
    counts = np.bincount(
        label_map.voxels.ravel(order="K"), minlength=max(label_map.labels, default=0) + 1
    )
    return {
        name: round(int(counts[value]) * voxel_ml, 3) for value, name in label_map.labels.items()
    }


def write_text(path: Path, text: str) -> None:
    """Write a text file that appears with its folder."""
    path.write_text(text, encoding="utf-8")


def write_table(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    """Write a CSV file that appears with its folder."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)


def _write_separate(label_map: LabelMap, folder: Path, like: Path | None) -> dict[str, str]:
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


def _warnings(done: SegmentedCase) -> tuple[str, ...]:
    """What a reader should look at, as far as the masks alone tell."""
    asked = {label for given in done.prepared.asked.slices.values() for label, _ in given}
    if not asked:
        return ("nothing was asked of this image: its coarse mask or its prompts are empty",)
    values = {name: value for value, name in done.label_map.labels.items()}
    present = set(np.unique(done.label_map.voxels).tolist())
    return tuple(
        f"{label!r} was asked for and nothing was found"
        for label in done.label_map.labels.values()
        if label in asked and values[label] not in present
    )
