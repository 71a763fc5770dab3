"""`cobot segment --auto`: many volumes by the label prompts beside an adapter."""

import numpy as np
import pytest
from cobot.adapters.checkpoint import write_adapter
from cobot.adapters.store import AdapterStore
from cobot.auto.files import write_label_prompts
from cobot.auto.segment import segment_auto
from cobot.batch.automatic import wanted_labels
from cobot.batch.manifest import read_manifest
from cobot.cli.main import app
from cobot.errors import ConfigError
from cobot.io import read_label_map, read_volume
from cobot.volume import LabelMap
from typer.testing import CliRunner


@pytest.fixture
def store(tmp_path, adapter, prompts):
    """A store whose active version carries label prompts."""
    place = tmp_path / "store"
    version = AdapterStore(place).publish(adapter)
    AdapterStore(place).activate(version.name)
    write_label_prompts(version.folder, prompts)
    return place


def run(*arguments):
    return CliRunner().invoke(app, ["segment", *map(str, arguments)], catch_exceptions=False)


def test_masks_are_those_of_one_volume_at_the_values_of_the_data_set(
    shapes, store, tmp_path, model, prompts
):
    image, out = shapes / "image_0.nii.gz", tmp_path / "out"
    common = ("--auto", "--adapter", store, "--device", "cpu", "--precision", "fp32")
    assert run(image, "-o", out, *common).exit_code == 0
    alone = segment_auto(read_volume(image), model.segmenter, prompts)
    found = read_label_map(out / "image_0" / "image_0.nii.gz")
    assert found.labels == {2: "ball", 5: "rod"}
    assert np.array_equal(found.mask("ball"), alone.label_map.mask("ball"))
    assert np.array_equal(found.mask("rod"), alone.label_map.mask("rod"))
    record = read_manifest(out)["image_0"]
    assert record.provenance.prompts == "auto, shapes"
    assert record.axis == "k"
    assert "1 done before" in run(image, "-o", out, *common).output


def test_an_adapter_without_label_prompts_and_a_named_axis_are_refused(
    shapes, store, tmp_path, adapter
):
    write_adapter(tmp_path / "plain", adapter)
    with pytest.raises(ConfigError, match=r"carries no label prompts \(nothing in .*plain\)"):
        run(shapes, "-o", tmp_path / "out", "--auto", "--adapter", tmp_path / "plain")
    with pytest.raises(ConfigError, match="--axis i does not go with --auto"):
        run(shapes, "-o", tmp_path / "out", "--auto", "--adapter", store, "--axis", "i")


def test_wanted_labels_take_their_values_and_others_go():
    voxels = np.array([[[0, 1, 2, 3]]], np.uint8)
    found = LabelMap(voxels, np.eye(4), {1: "ball", 2: "rod", 3: "cone"})
    kept = wanted_labels(found, {7: "rod", 2: "ball"})
    assert kept.voxels.tolist() == [[[0, 2, 7, 0]]]
    assert kept.labels == {7: "rod", 2: "ball"}
