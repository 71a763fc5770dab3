import pytest
import torch
from cobot.adapters.checkpoint import read_adapter, write_adapter
from cobot.adapters.importer import import_lora
from cobot.adapters.loading import AdaptableModel, apply_adapter
from cobot.errors import AdapterError
from safetensors.torch import save_file
from torch import nn


def samed_tensors(blocks: int = 4, rank: int = 3, width: int = 16) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for slot in range(2 * blocks):
        tensors[f"w_a_{slot:03d}"] = torch.randn(rank, width, generator=generator)
        tensors[f"w_b_{slot:03d}"] = torch.randn(width, rank, generator=generator)
    return tensors


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lora.safetensors"


def test_even_numbers_are_q_and_odd_ones_v(path, card, encoder):
    tensors = samed_tensors()
    save_file(tensors, path)
    file = import_lora(path, card)
    assert (file.config.name, file.config.width, file.config.train_decoder) == ("lora", 3, False)
    model = AdaptableModel(encoder, nn.Linear(1, 1), card.encoder, card.base_sha256)
    bases = [block.attn.qkv for block in encoder.blocks]
    apply_adapter(file, model)
    tokens = torch.randn(2, 16)
    for index, base in enumerate(bases):
        change = encoder.blocks[index].attn.qkv(tokens) - base(tokens)
        q, v = (
            tokens @ tensors[f"w_a_{slot:03d}"].T @ tensors[f"w_b_{slot:03d}"].T
            for slot in (2 * index, 2 * index + 1)
        )
        expected = torch.cat([q, torch.zeros(2, 16), v], dim=-1)
        torch.testing.assert_close(change, expected, atol=1e-4, rtol=1e-4)


def test_imported_adapter_survives_our_own_format(path, card, tmp_path):
    save_file(samed_tensors(), path)
    file = import_lora(path, card)
    write_adapter(tmp_path / "ours", file)
    back = read_adapter(tmp_path / "ours")
    assert all(torch.equal(back.tensors[name], file.tensors[name]) for name in file.tensors)


def test_trained_decoder_comes_along(path, card):
    save_file(samed_tensors() | {"mask_decoder.weight": torch.ones(1, 1)}, path)
    file = import_lora(path, card)
    assert file.config.train_decoder
    assert file.decoder_tensors().keys() == {"weight"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("w_a_003"), r"without a gap.*got 15 tensors"),
        (lambda t: (t.pop("w_a_007"), t.pop("w_b_007")), r"without a gap.*got 14 tensors"),
        (lambda t: t.clear(), "without a gap.*got 0 tensors"),
        (lambda t: t["w_b_002"][3].fill_(torch.nan), "NaN, infinite or complex, in w_b_002"),
        (lambda t: t["w_a_001"][0].fill_(-torch.inf), "NaN, infinite or complex, in w_a_001"),
        (
            lambda t: t.update({"mask_decoder.x": torch.ones(1, dtype=torch.complex64)}),
            "complex, in mask_decoder.x; expected finite real ones",
        ),
        (lambda t: t.update(w_b_002=torch.ones(16, 4)), r"pair 002 has shapes \(3, 16\) and"),
        (lambda t: t.update(w_a_000=torch.ones(3)), r"pair 000 has shapes \(3,\)"),
        (
            lambda t: t.update({"prompt_encoder.x": torch.ones(1)}),
            r"neither w_a_###, w_b_### nor mask_decoder.\*, such as \['prompt_encoder.x'\]",
        ),
    ],
)
def test_other_layouts_are_refused(path, card, change, message):
    tensors = samed_tensors()
    change(tensors)
    save_file(tensors, path)
    with pytest.raises(AdapterError, match=message):
        import_lora(path, card)


def test_pickles_and_broken_files_are_refused(path, card, tmp_path):
    with pytest.raises(AdapterError, match="A pickled file could run code"):
        import_lora(tmp_path / "lora.pt", card)
    with pytest.raises(AdapterError, match="cannot be read as safetensors"):
        import_lora(path, card)
    path.write_bytes(b"12")
    with pytest.raises(AdapterError, match="cannot be read as safetensors"):
        import_lora(path, card)
