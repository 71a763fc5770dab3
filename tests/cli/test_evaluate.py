"""`cobot evaluate prompts` and `interactive` as a user types them: what is refused, and when."""

import tempfile

import numpy as np
import pytest
from cobot.cli.evaluate import app
from cobot.cli.evaluate_results import make_results_folder
from cobot.errors import ConfigError, ImageWriteError
from cobot.io import write_label_map
from cobot.io.image_writer import write_volume
from cobot.sam import weights
from cobot.volume import LabelMap, Volume
from typer.testing import CliRunner

COMMANDS = ("prompts", "interactive")


@pytest.fixture
def folder(tmp_path):
    """Two cases of two slices; only the second holds a structure."""
    (tmp_path / "data").mkdir()
    pixels = np.random.default_rng(0).normal(40, 20, (24, 24, 2)).astype(np.float32)
    for case, value in ((1, 0), (2, 3)):
        labels = np.zeros(pixels.shape, np.uint8)
        labels[6:16, 6:16] = value
        affine = np.diag([2.0, 2.0, 6.0, 1.0])
        write_volume(Volume(pixels, affine), tmp_path / "data" / f"image_{case}.nii.gz")
        names = {3: "spleen"} if value else {}
        write_label_map(LabelMap(labels, affine, names), tmp_path / "data" / f"label_{case}.nii.gz")
    return tmp_path


def run(folder, command, *options):
    return CliRunner().invoke(
        app,
        [command, "--data", str(folder / "data"), "--out", str(folder / "out"), "--device", "cpu"]
        + list(options),
        catch_exceptions=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_cannot_be_made_is_refused_before_a_model_is_loaded(
    folder, command, monkeypatch
):
    monkeypatch.setattr(weights, "load_sam", lambda *_: pytest.fail("loaded"))
    (folder / "out").touch()
    with pytest.raises(ImageWriteError, match="out cannot be made"):
        run(folder, command)


def test_a_folder_that_takes_no_file_is_refused(tmp_path, monkeypatch):
    make_results_folder(tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(ImageWriteError, match="new cannot be written to: No space left"):
        make_results_folder(tmp_path / "new")


@pytest.mark.parametrize("command", COMMANDS)
def test_labels_that_no_case_holds_are_refused_in_words(folder, command):
    with pytest.raises(ConfigError, match="None of 2 cases holds one of --labels 1=liver.*label_1"):
        run(folder, command, "--labels", "1=liver")


def test_a_first_case_without_the_structures_stops_nothing(folder):
    assert run(folder, "interactive", "--cap", "1").exit_code == 0
    assert (folder / "out" / "summary.json").is_file()


def test_no_cases_at_all_cannot_be_asked_for(folder):
    assert run(folder, "prompts", "--limit", "0").exit_code == 2
