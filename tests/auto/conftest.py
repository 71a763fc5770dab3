"""Bright shapes in grey bodies, an adapter that changes something, and label prompts for it."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from cobot.adapters.attach import attach_adapters
from cobot.adapters.card import AdapterCard
from cobot.adapters.checkpoint import AdapterFile, collect_adapter
from cobot.adapters.config import AdapterConfig
from cobot.auto.files import LabelPrompts
from cobot.auto.prompter import LabelPrompter
from cobot.auto.recipe import AutoRecipe
from cobot.auto.settings import AutoSettings, PrompterShape
from cobot.auto.train import FrozenModel, learn_label_prompts
from cobot.geometry import check_affine
from cobot.io import write_label_map
from cobot.sam.segmenter import SegmenterOptions
from cobot.sam.weights import LoadedSam, load_sam
from cobot.training.corrections import Correction, find_corrections
from cobot.training.task import TrainingTask
from cobot.volume import LabelMap, Volume

LABELS = {2: "ball", 5: "rod"}
TASK = TrainingTask("shapes", LABELS, cut="k").shown_in("-200,300")
QUICK = AutoRecipe(
    tokens=2, hidden=16, slices=14, variants=2, guess_steps=60, decoder_steps=6, batch_size=6,
    questions=6,
)  # fmt: skip
AFFINE = check_affine(np.diag([3.0, 3.0, 6.0, 1.0]))


def shapes_case(seed: int) -> tuple[Volume, LabelMap]:
    """HU and labels of a body 48 x 44 x 7 with a ball (slices 1 to 4) and a rod (2 to 5)."""
    rng = np.random.default_rng(seed)
    i, j = np.mgrid[:48, :44]
    hu = np.full((48, 44, 7), -1000.0)
    hu[4:44, 4:40] = rng.normal(0, 10, (40, 36, 7))
    labels = np.zeros(hu.shape, np.uint8)
    at = rng.uniform([15, 13], [18, 16])
    labels[(i - at[0]) ** 2 + (j - at[1]) ** 2 < 40, 1:5] = 2
    labels[29:37, 22:32, 2:6] = 5
    hu[labels == 2] += 200
    hu[labels == 5] -= 120
    return Volume(hu.astype(np.int16), AFFINE), LabelMap(labels, AFFINE, LABELS)


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """A folder of three cases."""
    folder = tmp_path_factory.mktemp("shapes")
    for number in range(3):
        volume, truth = shapes_case(number)
        image = nib.Nifti1Image(volume.voxels, volume.affine)
        nib.save(image, folder / f"image_{number}.nii.gz")
        write_label_map(truth, folder / f"label_{number}.nii.gz")
    return folder


@pytest.fixture
def shapes_volume() -> Volume:
    """One that no test learns from."""
    return shapes_case(9)[0]


@pytest.fixture(scope="session")
def task() -> TrainingTask:
    return TASK


@pytest.fixture(scope="session")
def cases(shapes) -> tuple[Correction, ...]:
    return find_corrections(shapes)


@pytest.fixture(scope="session")
def base() -> LoadedSam:
    """The model that is shipped."""
    return load_sam("tiny")


@pytest.fixture(scope="session")
def adapter(base) -> AdapterFile:
    """LoRA with random B, so that it changes something."""
    twin = load_sam("tiny")
    config = AdapterConfig.named("lora")
    handle = attach_adapters(twin.sam.image_encoder, config, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    with torch.no_grad():
        for value in handle.parameters().values():
            value.add_(0.02 * torch.randn_like(value))
    card = AdapterCard(encoder="tiny", base_sha256=base.sha256, image_size_px=64)
    return collect_adapter(handle, card, twin.sam.mask_decoder)


@pytest.fixture(scope="session")
def model(base, adapter) -> FrozenModel:
    """The adapted base at a quick side."""
    return FrozenModel.of(base, adapter, "cpu", SegmenterOptions(precision="fp32"))


@pytest.fixture(scope="session")
def learnt(model, cases, task) -> LabelPrompts:
    """Label prompts after a few steps on two cases."""
    return learn_label_prompts(model, cases[:2], task, QUICK, 0)


@pytest.fixture
def prompts(model) -> LabelPrompts:
    """Untrained ones, which fit the model."""
    shape = PrompterShape(128, tokens=2, hidden=8)
    settings = AutoSettings(
        TASK, shape, {"ball": 1, "rod": 1},
        model.segmenter.base_sha256, model.segmenter.adapter_hash,
    )  # fmt: skip
    prompter = LabelPrompter(shape, 2, torch.Generator().manual_seed(1))
    return LabelPrompts(settings, prompter.eval())
