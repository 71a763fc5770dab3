"""What a run is asked to do with every case: a value that travels to workers."""

import hashlib
from pathlib import Path
from typing import Literal

from cobot.batch.record import Value
from cobot.sam.encoder_plan import Precision

Axis = Literal["auto", "i", "j", "k"]


class ModelChoice(Value):
    """Which model, and how it is run.

    Attributes:
        model: tiny, vit_b, vit_l or vit_h.
        weights: another file of that model; None takes its own.
        adapter: an adapter's folder, or a store with an active one; None is the base alone.
        device: auto, cpu, cuda or cuda:N.
        precision: of the encoder.
        auto: the adapter's label prompts are used.
    """

    model: str = "tiny"
    weights: Path | None = None
    adapter: Path | None = None
    device: str = "auto"
    precision: Precision = "auto"
    auto: bool = False


class CaseSettings(Value):
    """How each case is segmented and written.

    Attributes:
        window: auto, a preset, or lower,upper.
        axis: voxel axis cut across; auto is the one of the coarsest spacing.
        separate: also write one file for each label.
        dicom_seg: also write DICOM SEG, for cases that came from DICOM.
        rtstruct: also write RTSTRUCT, for cases that came from DICOM.
        slices_at_once: in one encoder batch, of whichever cases.
        seed: of anything random.
    """

    window: str = "auto"
    axis: Axis = "auto"
    separate: bool = False
    dicom_seg: bool = False
    rtstruct: bool = False
    slices_at_once: int = 4
    seed: int = 0

    def digest(self, base_sha256: str, adapter_sha256: str, precision: Precision) -> str:
        """The checksum of everything but image and prompts that decides what is written.

        The device and the size of batches are left out: a run may go on elsewhere.
        """
        decisive = self.model_dump_json(exclude={"slices_at_once"})
        text = f"{decisive}|{base_sha256}|{adapter_sha256}|{precision}"
        return hashlib.sha256(text.encode()).hexdigest()
