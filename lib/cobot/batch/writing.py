"""The third stage: a case's files, and the record that tells of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import numpy as np

from cobot.batch.case_folder import replaced_folder
from cobot.batch.inputs import InputCase, Unusable
from cobot.batch.outputs import WantedFiles, write_outputs
from cobot.batch.paths import relative_path
from cobot.batch.reading import FailedCase
from cobot.batch.record import CaseRecord, Provenance
from cobot.batch.segmenting import SegmentedCase
from cobot.intensity import IntensityWindow
from cobot.volume import LabelMap

MakeProvenance = Callable[[IntensityWindow | None], Provenance]


@dataclass(frozen=True, slots=True)
class CaseWriter:
    """Writes cases into one output folder.

    Attributes:
        out: the folder.
        wanted: what is written beside the mask.
        settings_sha256: of everything but input and prompts.
        provenance: of a case, given its window.
    """

    out: Path
    wanted: WantedFiles
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
            written = write_outputs(done, volume_ml, folder, self.wanted)
            record = self._record(case, "done", prompts_sha256).model_copy(
                update={
                    "fingerprint": done.prepared.fingerprint,
                    "outputs": {
                        kind: f"{case.name}/{name}" for kind, name in written.names.items()
                    },
                    "labels": dict(label_map.labels),
                    "volume_ml": volume_ml,
                    "confidence": done.confidence,
                    "axis": "ijk"[done.prepared.plane.axis],
                    "warnings": (*done.warnings, *written.warnings),
                    "provenance": self.provenance(done.prepared.window),
                    "seconds": {
                        "read": round(done.prepared.seconds, 4),
                        "segment": round(done.seconds, 4),
                        "write": round(time.perf_counter() - started, 4),
                    },
                }
            )
            text = record.model_dump_json(indent=2)
            (folder / written.names["record"]).write_text(text + "\n", encoding="utf-8")
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


def volumes_ml(label_map: LabelMap) -> dict[str, float]:
    """Label to millilitres, to the microlitre."""
    voxel_ml = abs(float(np.linalg.det(label_map.affine[:3, :3]))) / 1000
    length = max(label_map.labels, default=0) + 1
    counts = np.bincount(label_map.voxels.ravel(order="K"), minlength=length)
    return {
        name: round(int(counts[value]) * voxel_ml, 3) for value, name in label_map.labels.items()
    }
