"""Small studies on disk, and one small model for all tests of a batch."""

from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from cobot.batch.asking import FilePrompts, MaskPrompts
from cobot.batch.inputs import find_inputs
from cobot.batch.model import RunModel
from cobot.batch.partners import PartnerFiles
from cobot.batch.prompt_file import PromptFile
from cobot.batch.record import CaseRecord
from cobot.batch.run import Job, Summary, run_job
from cobot.batch.settings import CaseSettings, ModelChoice
from cobot.batch.stages import Limits, Stages
from cobot.datasets.phantom import abdomen_phantom
from cobot.io import write_label_map
from cobot.io.image_writer import write_volume
from cobot.sam.build import build
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import load_sam
from safetensors.torch import save_file

GRID = {"shape": (40, 36, 4), "spacing_mm": (9.0, 9.0, 40.0)}
USUAL, LIMITS = CaseSettings(), Limits()


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """tiny's architecture, untrained: these tests are about files, not about masks."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(build("tiny").state_dict(), path)
    return path


@pytest.fixture(scope="session")
def model(weights):
    """On pictures of 64 px, a sixteenth of the work."""
    choice = ModelChoice(weights=weights, device="cpu", precision="fp32")
    options = SegmenterOptions(side_px=64, precision="fp32")
    return RunModel(choice, SliceSegmenter(load_sam("tiny", weights), "cpu", options), None)


@pytest.fixture(scope="session")
def phantoms():
    return [abdomen_phantom(seed, **GRID) for seed in range(3)]


@pytest.fixture
def studies(tmp_path, phantoms) -> Path:
    """Three images in `studies/`, their truths under the same names in `coarse/`."""
    folder, coarse = tmp_path / "studies", tmp_path / "coarse"
    folder.mkdir()
    coarse.mkdir()
    for number, phantom in enumerate(phantoms):
        write_volume(phantom.volume, folder / f"case{number}.nii.gz")
        write_label_map(phantom.truth, coarse / f"case{number}.nii.gz")
    return folder


@pytest.fixture
def box_everywhere():
    """A box of the same voxels for each label on every image."""

    def source(*labels: str) -> FilePrompts:
        objects = [
            {"label": label, "boxes": [[[8 + n, 8, 1], [24 + n, 26, 2]]]}
            for n, label in enumerate(labels)
        ]
        file = PromptFile.model_validate({"cases": {"*": {"objects": objects}}})
        return FilePrompts(file, "boxes")

    return source


@pytest.fixture
def mask_prompts(tmp_path) -> MaskPrompts:
    """Boxes from the truths of `studies`."""
    return MaskPrompts(PartnerFiles(tmp_path / "coarse"))


@dataclass
class Heard:
    """What a run told its watcher."""

    records: list[CaseRecord] = field(default_factory=list)
    planned: object = None

    def looked_at(self, number: int) -> None:
        pass

    def begin(self, plan) -> None:
        self.planned = plan

    def settled(self, record: CaseRecord) -> None:
        self.records.append(record)

    def outcome(self, record: CaseRecord) -> None:
        self.records.append(record)


@pytest.fixture
def segment(model):
    """Runs a job in this process."""

    def run(
        *inputs: Path,
        out: Path,
        source,
        settings: CaseSettings = USUAL,
        limits: Limits = LIMITS,
        retry_failed: bool = False,
        using=None,
    ) -> Summary:
        used = using or model
        job = Job(find_inputs([str(one) for one in inputs]), out, source, settings, retry_failed)

        def engine(writer):
            return Stages(used.stream(settings), source, settings, writer, limits)

        return run_job(job, used, engine, Heard())

    return run


@pytest.fixture
def mask_of():
    """The voxels of a case's mask."""

    def read(out: Path, name: str) -> np.ndarray:
        return np.asarray(nib.load(out / name / f"{name}.nii.gz").dataobj)

    return read
