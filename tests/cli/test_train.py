"""`cobot train` and `cobot adapters compare`, as typed."""

import numpy as np
import pytest
import torch
from cobot.adapters.store import AdapterStore
from cobot.cli.main import app
from cobot.cli.train import configurations, find_task, read_changes
from cobot.errors import CobotError, ConfigError
from cobot.intensity import PRESETS, FixedWindow
from cobot.io import write_label_map
from cobot.sam.build import build
from cobot.training.run_state import load_state
from cobot.volume import LabelMap
from safetensors.torch import save_file
from typer.testing import CliRunner

AFFINE = np.diag([3.0, 3.0, 6.0, 1.0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three cases of one bright square, and weights."""
    import nibabel as nib

    root = tmp_path_factory.mktemp("train")
    torch.manual_seed(0)
    state = build("tiny").state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, root / "w.safetensors")
    for number in range(3):
        labels = np.zeros((32, 32, 3), np.uint8)
        labels[8 + number : 20, 9:21, 1] = 1
        hu = (labels * 200.0 + number).astype(np.int16)
        nib.save(nib.Nifti1Image(hu, AFFINE), root / f"image_{number}.nii.gz")
        write_label_map(LabelMap(labels, AFFINE, {1: "box"}), root / f"label_{number}.nii.gz")
    return root


def command(folder, store, *more):
    return [
        "train", "--data", str(folder), "--dataset", "1=box", "--store", str(store),
        "--weights", str(folder / "w.safetensors"), "--side", "32", "--device", "cpu",
        "--window", "-50,250",
        "--set", "epochs=1", "--set", "batch_size=1", "--set", "rounds=1", *more,
    ]  # fmt: skip


def test_two_trainings_and_their_comparison(folder, tmp_path):
    store = tmp_path / "store"
    for seed in ("0", "1"):
        result = CliRunner().invoke(
            app, command(folder, store, "--method", "lightweight", "--seed", seed)
        )
        assert result.exit_code == 0, result.output
        assert "2 cases to learn from (2 slices), 1 to measure on" in result.output
        assert result.output.count("mean over cases") == 2
        assert "a box on each slice" in result.output
        assert "one box, propagated" in result.output
        assert "Labels, by label_0.nii.gz: box." in result.output
    opened = AdapterStore(store)
    names = [opened.publish(_version(dice)).name for dice in (0.5, 0.75)]
    result = CliRunner().invoke(app, ["adapters", "compare", *names, "--store", str(store)])
    assert result.exit_code == 0, result.output
    assert "+0.2500" in result.output
    assert "not measured on the same cases" in result.output


def test_without_a_store_versions_lie_apart_for_each_task_and_base(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    typed = command(folder, "left out", "--method", "lightweight")
    result = CliRunner().invoke(app, [*typed[:5], *typed[7:]])
    assert result.exit_code == 0, result.output
    assert "Versions: out/adapters/own-tiny" in result.output
    assert AdapterStore(tmp_path / "out/adapters/own-tiny").active is not None


def test_late_blocks_are_announced_and_written_down(folder, tmp_path):
    store = tmp_path / "store"
    more = ("--method", "lora+cobot", "--blocks", "last-quarter", "--precision", "bf16")
    result = CliRunner().invoke(app, command(folder, store, *more))
    assert result.exit_code == 0, result.output
    assert "computed in bf16. Blocks [6, 7] are adapted." in " ".join(result.output.split())
    (run,) = (store / "runs").iterdir()
    learnt = load_state(run, run.name).tensors
    assert {name.split(".")[1] for name in learnt if name.startswith("blocks.")} == {"6", "7"}
    assert learnt["relation.matrix"].shape == (4, 4)


def _version(dice: float):
    from cobot.adapters.card import AdapterCard
    from cobot.adapters.checkpoint import AdapterFile
    from cobot.adapters.config import AdapterConfig

    card = AdapterCard("tiny", "0" * 64, metrics={"dice": dice})
    return AdapterFile(
        AdapterConfig.named("lora", train_decoder=False), card, {"x": torch.zeros(1)}
    )


def test_refusals_are_one_line_and_name_the_cure(folder, tmp_path, monkeypatch, capsys):
    from cobot.cli import main as door

    for more, why in (
        (("--method", "freeze"), "measure it with `cobot evaluate`"),
        (("--set", "epochs"), "write for example --set epochs=5"),
        (("--recipe", "best"), "Unknown recipe 'best'"),
        (("--dataset", "abdomen"), ' --dataset abdomen --labels "1=box"'),
        (("--blocks", "half"), "expected one of all, last-half, last-quarter"),
        (("--method", "lightweight", "--blocks", "last-half"), "'lightweight' attaches no adapter"),
    ):
        monkeypatch.setattr("sys.argv", ["cobot", *command(folder, tmp_path / "s", *more)])
        with pytest.raises(SystemExit) as end:
            door.main()
        assert end.value.code == 2
        assert why in capsys.readouterr().err


def test_changes_go_where_they_belong():
    changes = read_changes(["epochs=3", "width=8", "relation=fixed", "negative_ratio=1"])
    adapter, recipe = configurations("lora+cobot", "paper", changes)
    assert (adapter.width, adapter.relation) == (8, "fixed")
    assert (recipe.epochs, recipe.negative_ratio, recipe.learning_rate) == (3, 1.0, 1.25e-6)
    with pytest.raises(ConfigError, match=r"unknown settings \['colour'\]"):
        configurations("lora", "paper", {"colour": 1})


def test_tasks_by_name_by_file_and_by_labels(tmp_path):
    assert find_task("spleen").windows == {"spleen": PRESETS["spleen"]}
    assert find_task("head-neck").cut == "axial"
    own = find_task("2=liver", window="-10,20", plane="i")
    assert own.labels == {2: "liver"}
    assert own.windows == {"liver": FixedWindow(-10.0, 20.0)}
    assert (own.cut, find_task("2=liver", window="auto").windows) == ("i", {})
    with pytest.raises(CobotError, match="no public data set 'heart'"):
        find_task("heart")
    with pytest.raises(CobotError, match="Unknown window 'bright'"):
        find_task("spleen", window="bright")


def test_a_task_is_settled_by_what_a_folder_says(folder, tmp_path):
    from cobot.cli.train import settle_task

    renamed = settle_task(folder, find_task("abdomen"), "abdomen", labels="1=box")
    assert renamed.task.labels == {1: "box"}
    assert renamed.task.windows == {}, "these images are no CT"
    assert "shown by percentiles" in renamed.sentences[1]
    wished = settle_task(folder, find_task("abdomen"), "abdomen", "1=box", window="lung")
    assert wished.task.windows == {"box": PRESETS["lung"]}


def test_auto_adds_label_prompts_once(folder, tmp_path):
    store = tmp_path / "store"
    auto = [
        "--method", "lightweight", "--auto", "--auto-set", "guess_steps=2",
        "--auto-set", "decoder_steps=1", "--auto-set", "variants=1", "--auto-set", "hidden=4",
    ]  # fmt: skip
    result = CliRunner().invoke(app, command(folder, store, *auto))
    assert result.exit_code == 0, result.output
    assert "without any prompt" in result.output
    assert "v0001 now segments without a prompt" in result.output
    written = AdapterStore(store).show("v0001").folder / "label_prompts.safetensors"
    content = written.read_bytes()
    again = CliRunner().invoke(app, command(folder, store, *auto))
    assert again.exit_code == 0, again.output
    assert "v0001 segments without a prompt already" in again.output
    assert written.read_bytes() == content
    refused = CliRunner().invoke(app, command(folder, store, "--auto", "--auto-set", "speed=3"))
    assert isinstance(refused.exception, ConfigError)
    assert "unknown settings ['speed']" in str(refused.exception)
