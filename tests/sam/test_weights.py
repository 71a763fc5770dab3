import hashlib
import pickle
import random

import pytest
import torch
from cobot.errors import ConfigError, WeightsError
from cobot.sam.build import build
from cobot.sam.official import OFFICIAL, official_file
from cobot.sam.weights import default_weights_path, file_sha256, load_sam, save_half
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return build("tiny").state_dict()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_fills_a_model_from_a_file(state, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    half = {key: value.half() for key, value in state.items()}
    save_file(half, path) if suffix == ".safetensors" else torch.save(half, path)
    loaded = load_sam("tiny", path)
    assert loaded.shape.name == "tiny"
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not loaded.sam.training
    for key, value in loaded.sam.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[key].half().float()), key


def test_says_what_is_missing_extra_and_of_another_size(state, tmp_path):
    wrong = dict(state)
    for index in range(5):
        del wrong[f"image_encoder.blocks.{index}.norm1.weight"]
    wrong["image_encoder.pos_embed"] = torch.zeros(1, 16, 16, 192)
    wrong["optimizer.step"] = torch.zeros(1)
    torch.save(wrong, tmp_path / "wrong.pth")
    with pytest.raises(WeightsError) as refused:
        load_sam("tiny", tmp_path / "wrong.pth")
    message = str(refused.value)
    assert "does not fit tiny" in message
    assert "5 missing: image_encoder.blocks.0.norm1.weight" in message
    assert "and 2 more" in message
    assert "1 extra: optimizer.step" in message
    assert "pos_embed (1, 16, 16, 192) for (1, 32, 32, 192)" in message
    assert "whole SAM tiny" in message


@pytest.mark.parametrize(("asked", "count"), [("vit_b", "missing"), ("vit_l", "extra")])
def test_names_the_encoder_a_file_is_of(state, tmp_path, asked, count):
    torch.save(state, tmp_path / "tiny.pth")
    with pytest.raises(WeightsError, match="These are the weights of tiny: ask for --encoder tiny"):
        load_sam(asked, tmp_path / "tiny.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_refuses_a_file_that_is_cut_short(state, tmp_path, suffix, kept):
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(WeightsError, match="cut short, damaged"):
        load_sam("tiny", path)


class Trap:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_refuses_a_file_with_changed_bytes(tmp_path, zipped):
    path, rng = tmp_path / "weights.pth", random.Random(0)
    torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.choices(range(len(whole)), k=4):
            damaged[place] = rng.randrange(256)
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match=r"weights\.pth"):
            load_sam("tiny", path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("save", ["pickle", "torch"])
def test_never_unpickles(tmp_path, save):
    path, sprung = tmp_path / "weights.pth", tmp_path / "sprung"
    if save == "torch":
        torch.save({"state": Trap(sprung)}, path)
    else:
        path.write_bytes(pickle.dumps({"state": Trap(sprung)}))
    with pytest.raises(WeightsError, match="more than tensors"):
        load_sam("tiny", path)
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("content", "described"),
    [({"model": {}, "epoch": 3}, "a dict with 'model', 'epoch'"), ([1, 2], "one list")],
)
def test_refuses_a_training_checkpoint(tmp_path, content, described):
    torch.save(content, tmp_path / "checkpoint.pth")
    with pytest.raises(WeightsError, match=f"no plain state dict .*{described}"):
        load_sam("tiny", tmp_path / "checkpoint.pth")


def test_looks_in_home_and_says_how_to_get_there(own_home):
    expected = own_home / "sam_vit_b_01ec64.pth"
    assert default_weights_path("vit_b") == expected
    with pytest.raises(WeightsError, match="cobot fetch vit_b.*--weights"):
        load_sam("vit_b")


def test_tiny_lies_in_the_package():
    assert default_weights_path("tiny").parts[-3:] == ("cobot", "sam", "tiny.safetensors")


def test_refuses_unknown_names():
    with pytest.raises(ConfigError, match="Unknown encoder 'vit_x'"):
        load_sam("vit_x")
    with pytest.raises(ConfigError, match="no weights of 'tiny' to fetch.*comes with this package"):
        official_file("tiny")
    assert {name: official_file(name).file_name for name in OFFICIAL} == {
        "vit_b": "sam_vit_b_01ec64.pth",
        "vit_l": "sam_vit_l_0b3195.pth",
        "vit_h": "sam_vit_h_4b8939.pth",
    }


def test_weights_written_in_half_precision_are_read_back(tmp_path):
    torch.manual_seed(0)
    sam, path = build("tiny"), tmp_path / "own.safetensors"
    save_half(sam, path, {"seed": "0"})
    loaded = load_sam("tiny", path)
    for name, value in sam.state_dict().items():
        assert torch.equal(loaded.sam.state_dict()[name], value.half().float())
    assert loaded.sha256 == file_sha256(path)
