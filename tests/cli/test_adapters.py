import hashlib
import json

import pytest
import torch
from cobot.adapters.store import AdapterStore
from cobot.cli.main import app
from cobot.errors import AdapterError, ConfigError, WeightsError
from cobot.sam.build import ENCODERS, EncoderShape
from safetensors.torch import save_file
from typer.testing import CliRunner


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A base of two blocks of width 8, as vit_b has here, and a LoRA file for it."""
    monkeypatch.setitem(ENCODERS, "vit_b", EncoderShape("vit_b", 8, 2, 2, ()))
    torch.manual_seed(0)
    base = {f"image_encoder.blocks.{i}.attn.qkv.weight": torch.randn(24, 8) for i in range(2)}
    torch.save(base, tmp_path / "base.pth")
    lora = {}
    for slot in range(4):
        lora[f"w_a_{slot:03d}"] = torch.randn(2, 8)
        lora[f"w_b_{slot:03d}"] = torch.randn(8, 2)
    save_file(lora, tmp_path / "lora.safetensors")
    return tmp_path


def cobot(folder, *arguments: str) -> str:
    """Run `cobot adapters …` on the folder's store and return what it prints."""
    result = CliRunner().invoke(
        app, ["adapters", *arguments, "--store", str(folder / "store")], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


def bring_in(folder, *more: str) -> str:
    files = str(folder / "lora.safetensors"), "--weights", str(folder / "base.pth")
    return cobot(folder, "import", *files, *more)


def test_import_list_activate_roll_back_show(folder):
    assert "v0001" in bring_in(folder)
    assert "v0002" in bring_in(folder)
    cobot(folder, "activate", "v0001")
    cobot(folder, "activate", "v0002")
    listing = cobot(folder, "list")
    assert "v0001" in listing
    assert "v0002" in listing
    assert "v0001 is active again" in cobot(folder, "rollback")
    shown = json.loads(cobot(folder, "show"))
    assert (shown["version"], shown["method"], shown["adapter"]["width"]) == ("v0001", "lora", 2)
    digest = hashlib.sha256((folder / "base.pth").read_bytes()).hexdigest()
    assert shown["card"]["base_sha256"] == digest
    assert json.loads(cobot(folder, "show", "v0002"))["version"] == "v0002"


def test_export_writes_base_plus_b_a(folder):
    bring_in(folder)
    weights, output = str(folder / "base.pth"), folder / "new" / "merged.pth"
    cobot(folder, "export", "v0001", "--weights", weights, "--output", str(output))
    base = torch.load(weights, weights_only=True)
    merged = torch.load(output, weights_only=True)
    lora = AdapterStore(folder / "store").read("v0001").tensors
    name = "image_encoder.blocks.1.attn.qkv.weight"
    q, v = (
        lora[f"blocks.1.attn.qkv.{p}.lora_b"] @ lora[f"blocks.1.attn.qkv.{p}.lora_a"] for p in "qv"
    )
    torch.testing.assert_close(merged[name] - base[name], torch.cat([q, torch.zeros(8, 8), v]))


def test_export_refuses_another_base_and_writes_nothing(folder):
    bring_in(folder)
    torch.save({"other": torch.ones(1)}, folder / "other.pth")
    output = folder / "merged.pth"
    with pytest.raises(AdapterError, match="made for vit_b with base weights SHA-256"):
        cobot(
            folder,
            "export",
            "v0001",
            "--weights",
            str(folder / "other.pth"),
            "--output",
            str(output),
        )
    assert not output.exists()


def test_import_that_does_not_fit_is_not_published(folder):
    torch.save({"image_encoder.blocks.0.attn.qkv.weight": torch.ones(24, 8)}, folder / "base.pth")
    with pytest.raises(AdapterError, match="4 extra .*blocks.1.attn.qkv"):
        bring_in(folder)
    assert AdapterStore(folder / "store").versions() == ()


def test_import_for_another_encoder_than_the_bases_is_not_published(folder):
    refusal = "2 blocks of width 8, expected 8 of 192 for --encoder tiny.*say --encoder vit_b"
    with pytest.raises(AdapterError, match=refusal):
        bring_in(folder, "--encoder", "tiny")
    with pytest.raises(ConfigError, match="Unknown encoder 'vit_x'"):
        bring_in(folder, "--encoder", "vit_x")
    assert AdapterStore(folder / "store").versions() == ()


def test_refusals_before_anything_is_there(folder):
    with pytest.raises(AdapterError, match="No adapter is active"):
        cobot(folder, "show")
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        cobot(
            folder,
            "import",
            str(folder / "lora.safetensors"),
            "--weights",
            str(folder / "none.pth"),
        )
    (folder / "base.pth").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="cannot be read as SAM weights"):
        bring_in(folder)
