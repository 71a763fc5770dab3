"""What is known of one case of a batch: written beside its mask, and as a line of the manifest."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

RECORD_VERSION: Literal[1] = 1
MANIFEST_NAME = "manifest.jsonl"


class Value(BaseModel):
    """A frozen value that knows all of its fields and holds finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Fingerprint(Value):
    """What tells whether an input has changed.

    Attributes:
        size_bytes: of all its files together.
        mtime_ns: when it was last changed; of several files, a number that is another one when
            the name, size or time of any of them is.
        sha256: of the contents, in hex; of several files, of their names and contents in order.
    """

    size_bytes: int
    mtime_ns: int
    sha256: str


class Provenance(Value):
    """Where a mask comes from; it names no patient.

    Attributes:
        cobot_version: of this package.
        model: tiny, vit_b, vit_l or vit_h.
        base_sha256: of the base's weights.
        adapter: method and rank of the adapter; None for the base alone.
        adapter_sha256: of the adapter's tensors; None for the base alone.
        window: as asked for: auto, a preset, or lower,upper.
        window_lower: value shown black in this case; None if it was never read.
        window_upper: value shown white.
        precision: of the encoder: fp32 or bf16.
        seed: of anything random; nothing is, today.
        prompts: where they came from, in words: "file prompts.json", "masks in coarse/", "auto".
        device: such as "cpu" or "cuda:0".
    """

    cobot_version: str
    model: str
    base_sha256: str
    adapter: str | None
    adapter_sha256: str | None
    window: str
    window_lower: float | None
    window_upper: float | None
    precision: str
    seed: int
    prompts: str
    device: str


class CaseRecord(Value):
    """One case. Paths are written with "/" and relative to the output folder.

    Attributes:
        version: of this format.
        case: name of the case and of its folder.
        status: skipped is what was never meant to be segmented, such as a DICOM localiser.
        error: what was wrong, what was expected and the cure; None if done.
        input: what to give to `cobot.io.read_volume`: a file, or one file of a DICOM series.
        input_files: how many files the image is made of.
        fingerprint: of the input; None if it could not be read.
        outputs: kind to path: "mask", "labels_slicer", "labels_itksnap", "volumes", "confidence",
            "record", "dicom_seg", "rtstruct", "mask:LABEL".
        labels: value in the mask to name.
        volume_ml: label to millilitres.
        confidence: label to slice index along `axis` to the decoder's own guess of that mask's
            quality, near 0 to 1, of every slice that was asked about.
        axis: the voxel axis that slices were cut across.
        warnings: what a reader should look at, one sentence each.
        seconds: stage to wall time: "read", "segment", "write".
        provenance: None for what was never segmented.
        settings_sha256: of everything but input and prompts that decides the result.
        prompts_sha256: of what was asked of this case.
        finished_at: in UTC.
    """

    version: Literal[1] = RECORD_VERSION
    case: str
    status: Literal["done", "failed", "skipped"]
    error: str | None = None
    input: str
    input_files: int = 1
    fingerprint: Fingerprint | None = None
    outputs: Mapping[str, str] = {}
    labels: Mapping[int, str] = {}
    volume_ml: Mapping[str, float] = {}
    confidence: Mapping[str, Mapping[int, float]] = {}
    axis: Literal["i", "j", "k"] | None = None
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = {}
    provenance: Provenance | None = None
    settings_sha256: str = ""
    prompts_sha256: str = ""
    finished_at: datetime
