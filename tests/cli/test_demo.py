"""`cobot demo` from the command line to the files, with untrained weights."""

import sys
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from cobot.adapters.card import AdapterCard
from cobot.adapters.config import AdapterConfig
from cobot.adapters.store import AdapterStore
from cobot.cli import demo_case
from cobot.cli.boxes import parse_boxes
from cobot.cli.demo_table import compare, dice_table
from cobot.cli.main import app, main
from cobot.datasets.phantom import abdomen_phantom
from cobot.errors import ConfigError, PromptError
from cobot.io import read_label_map, read_volume
from cobot.io.image_writer import write_volume
from cobot.planes import plane_across
from cobot.prompts import VolumePrompts
from cobot.sam.build import build
from cobot.sam.device import choose_device
from cobot.sam.weights import load_sam
from cobot.training.boxes import organ_box
from cobot.training.trainee import build_trainee
from cobot.volume import LabelMap, Volume
from safetensors.torch import save_file
from typer.testing import CliRunner

SMALL = {"shape": (56, 48, 6), "spacing_mm": (6.8, 6.8, 26.0)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(build("tiny").state_dict(), path)
    return path


@pytest.fixture
def small_phantom(monkeypatch):
    monkeypatch.setattr(demo_case, "abdomen_phantom", lambda seed: abdomen_phantom(seed, **SMALL))
    return abdomen_phantom(7, **SMALL)


def run(*arguments):
    return CliRunner().invoke(app, ["demo", *map(str, arguments)], catch_exceptions=False)


def test_the_default_demo_writes_everything_and_prints_a_table(weights, small_phantom, tmp_path):
    out = tmp_path / "results"
    result = run("--weights", weights, "--out", out, "--device", "cpu", "--seed", 7)
    assert result.exit_code == 0
    for text in ("liver", "left kidney", "mean", "ellipsoid", "seconds per slice", "clinical"):
        assert text in " ".join(result.output.split())
    names = [".nii.gz", "_mask.nii.gz", "_overlay.png", "_truth.nii.gz"]
    assert sorted(path.name for path in out.iterdir()) == [f"phantom_cobot{name}" for name in names]
    image, mask = out / "phantom_cobot.nii.gz", out / "phantom_cobot_mask.nii.gz"
    assert nib.load(image).affine.tobytes() == nib.load(mask).affine.tobytes()
    assert np.array_equal(read_volume(image).voxels, small_phantom.volume.voxels)
    labels = read_label_map(mask).labels
    assert set(labels.values()) == set(demo_case.ORGANS)
    assert (out / "phantom_cobot_overlay.png").read_bytes().startswith(b"\x89PNG")


def test_ones_own_image_and_box_give_a_mask_on_its_grid(weights, small_phantom, tmp_path):
    image = tmp_path / "patient.nii.gz"
    write_volume(small_phantom.volume, image)
    result = run(
        "--image", image, "--box", "liver=30,30,3,8,8,2", "--out", tmp_path / "out",
        "--weights", weights, "--window=-100,200", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0
    assert "volume (mL)" in result.output
    assert "Dice" not in result.output
    mask = read_label_map(tmp_path / "out" / "patient_cobot_mask.nii.gz")
    mask.require_same_grid(small_phantom.volume)
    assert not mask.voxels[:, :, [0, 1, 4, 5]].any()


def test_results_beside_the_users_files_overwrite_none_of_them(weights, small_phantom, tmp_path):
    image = tmp_path / "patient.nii.gz"
    write_volume(small_phantom.volume, image)
    own = [tmp_path / f"{name}.nii.gz" for name in ("patient_mask", "patient_truth", "phantom")]
    for path in own:
        path.write_bytes(b"by hand")
    asked = ["--image", image, "--box", "liver=30,30,3,8,8,2"]
    for arguments in (asked, []):
        assert run(*arguments, "--weights", weights, "--out", tmp_path).exit_code == 0
    assert {path.read_bytes() for path in own} == {b"by hand"}


@pytest.fixture
def store(weights, tmp_path):
    """A store whose active version has nothing to correct: a box is answered with its ellipse."""
    loaded = load_sam("tiny", weights)
    trainee = build_trainee(loaded, AdapterConfig.named("lora+cobot"), 0)
    with torch.no_grad():
        for mlp in trainee.sam.mask_decoder.output_hypernetworks_mlps:
            mlp.layers[-1].weight.zero_()
            mlp.layers[-1].bias.zero_()
    opened = AdapterStore(tmp_path / "store")
    card = AdapterCard("tiny", loaded.sha256, dataset="discs")
    opened.activate(opened.publish(trainee.snapshot(card)).name)
    return tmp_path / "store"


@pytest.mark.parametrize("named", ["version", "active", "folder"])
def test_an_adapter_is_shown_beside_its_frozen_base(weights, store, small_phantom, tmp_path, named):
    image = tmp_path / "patient.nii.gz"
    write_volume(small_phantom.volume, image)
    way = {
        "version": ["--adapter", "v0001", "--store", store],
        "active": ["--store", store],
        "folder": ["--adapter", store / "v0001"],
    }[named]
    result = run(
        "--image", image, "--box", "liver=30,30,3,8,8,2", "--out", tmp_path / "out",
        "--weights", weights, "--window=-100,200", "--device", "cpu", *way,
    )  # fmt: skip
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    for part in ("adapted (mL)", "frozen base (mL)", "lora+cobot, trained on discs", "in fp32"):
        assert part in text
    (row,) = (line for line in result.output.splitlines() if "liver" in line and "│" in line)
    adapted, base = (float(cell) for cell in row.strip("│ ").split("│")[1:])
    assert adapted != base
    liver = read_label_map(tmp_path / "out" / "patient_cobot_mask.nii.gz").voxels > 0
    assert liver.sum() == liver[8:31, 8:31, 2:4].sum()
    assert liver.sum() / (23 * 23 * 2) == pytest.approx(np.pi / 4, abs=0.06)


def test_the_phantoms_table_has_both_models(weights, store, small_phantom, tmp_path):
    result = run("--weights", weights, "--out", tmp_path / "out", "--store", store)
    assert result.exit_code == 0
    for part in ("adapted", "base", "ellipses"):
        assert part in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--store", "STORE", "--adapter", "v0009"], "v0009"),
        (["--adapter", "nowhere"], "There is no adapter at nowhere"),
        (["--image", "IMAGE"], "needs at least one --box"),
        (["--image", "IMAGE", "--box", "liver=1,2,3"], "cannot be read; expected LABEL="),
        (["--image", "IMAGE", "--box", "liver=1,2,3,4,5,99"], "outside the image"),
        (["--box", "liver=1,2,3,4,5,6"], "--box goes with --image"),
        (["--device", "abacus"], "Unknown device 'abacus'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    arguments, message, weights, store, small_phantom, tmp_path, monkeypatch, capsys
):
    image = tmp_path / "patient.nii.gz"
    write_volume(small_phantom.volume, image)
    places = {"IMAGE": str(image), "STORE": str(store)}
    given = [places.get(part, part) for part in arguments]
    out = tmp_path / "out"
    fixed = ["--weights", str(weights), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["cobot", "demo", *fixed, *given])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_boxes_are_read_with_corners_in_any_order():
    volume = Volume(np.zeros((9, 9, 9), np.int16), np.eye(4))
    liver, spleen = parse_boxes(["liver=5,1,8,2,3,4", "left lobe=0,0,0,1,1,1"], volume)
    assert liver.box_ijk.tolist() == [[2, 1, 4], [5, 3, 8]]
    assert (liver.label, spleen.label) == ("liver", "left lobe")


@pytest.mark.parametrize("text", ["liver", "=1,2,3,4,5,6", "liver=1,2,3,4,5", "liver=a,2,3,4,5,6"])
def test_a_box_that_is_not_six_numbers_is_refused(text):
    volume = Volume(np.zeros((9, 9, 9), np.int16), np.eye(4))
    with pytest.raises(PromptError, match="expected LABEL=i0,j0,k0,i1,j1,k1"):
        parse_boxes([text], volume)


def test_a_label_boxed_twice_is_refused():
    volume = Volume(np.zeros((9, 9, 9), np.int16), np.eye(4))
    with pytest.raises(PromptError, match="'liver' twice"):
        parse_boxes(["liver=1,1,1,2,2,2", "liver=1,1,1,3,3,3"], volume)


def test_scores_of_a_perfect_and_an_empty_answer():
    voxels = np.zeros((30, 30, 8), np.uint8)
    voxels[5:25, 5:25, 2:6] = 1
    truth = LabelMap(voxels, np.eye(4), {1: "cube"})
    nothing = LabelMap(np.zeros_like(voxels), np.eye(4), {1: "cube"})
    prompts = VolumePrompts(plane_across(truth.affine, 2), (organ_box(truth, "cube"),))
    (score,) = compare(truth, prompts, truth, nothing)
    assert (score.one_box, score.slice_boxes) == (1, 0)
    quarter, sixth = np.pi / 4, np.pi / 6
    assert score.ellipses == pytest.approx(2 * quarter / (1 + quarter), abs=0.01)
    assert score.ellipsoid == pytest.approx(2 * sixth / (1 + sixth), abs=0.03)
    assert dice_table([score]).row_count == 2
    beside = dice_table([score], [replace(score, one_box=0.25)])
    assert len(beside.columns) == 7
    assert list(beside.columns[1].cells) == ["[bold]1.000[/]"] * 2
    assert list(beside.columns[2].cells) == ["0.250"] * 2


def test_devices_are_read_or_refused():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda"):
        choose_device("meta")
    with pytest.raises(ConfigError, match="no device cuda:99"):
        choose_device("cuda:99")
