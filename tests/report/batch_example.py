"""A small batch output folder, written by hand as `cobot segment` would."""

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from cobot.batch.manifest import Manifest
from cobot.batch.record import CaseRecord, Provenance
from cobot.io import write_label_map
from cobot.io.image_writer import write_volume
from cobot.volume import LabelMap, Volume

SHAPE = (40, 36, 10)
AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])
NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)
MADE_BY = Provenance(
    cobot_version="1", model="tiny", base_sha256="0", adapter=None, adapter_sha256=None,
    window="auto", window_lower=-160.0, window_upper=240.0, precision="fp32", seed=0,
    prompts="masks in coarse", device="cpu",
)  # fmt: skip


def organ(start: tuple[int, int, int], size: int = 8, depth: int = 4) -> np.ndarray:
    """Return one block as a label map's voxels."""
    voxels = np.zeros(SHAPE, np.uint8)
    i, j, k = start
    voxels[i : i + size, j : j + size, k : k + depth] = 1
    return voxels


def add_case(
    out: Path,
    case: str,
    voxels: np.ndarray,
    label: str = "liver",
    confidence: float = 0.9,
    volume_ml: float = 1500.0,
    absent: int = 0,
) -> None:
    """Write image, mask and manifest line of a finished case; `absent` more labels are named."""
    (out / case).mkdir(parents=True, exist_ok=True)
    images = out.parent / "images"
    images.mkdir(exist_ok=True)
    noise = np.random.default_rng(0).normal(40, 20, SHAPE).astype(np.int16)
    write_volume(Volume(noise, AFFINE), images / f"{case}.nii.gz")
    label_map = LabelMap(voxels, AFFINE, {1: label})
    write_label_map(label_map, out / case / f"{case}.nii.gz")
    named = {2 + number: f"bone {number}" for number in range(absent)}
    slices = np.flatnonzero(voxels.any(axis=(0, 1))).tolist()
    record = CaseRecord(
        case=case, status="done", input=f"../images/{case}.nii.gz",
        outputs={"mask": f"{case}/{case}.nii.gz"}, labels={1: label} | named,
        volume_ml={label: volume_ml} | dict.fromkeys(named.values(), 0.0),
        confidence={label: {index: confidence for index in slices}},
        axis="k", provenance=MADE_BY, finished_at=NOW,
    )  # fmt: skip
    Manifest(out).append(record)


def add_failure(out: Path, case: str, error: str, status: str = "failed") -> None:
    """Write the manifest line of a case without a mask."""
    out.mkdir(parents=True, exist_ok=True)
    record = CaseRecord(
        case=case, status=status, error=error, input=f"../images/{case}.nii.gz", finished_at=NOW
    )
    Manifest(out).append(record)
