"""Adapters made elsewhere: LoRA files with `w_a_###` and `w_b_###` tensors (SAMed's layout)."""

import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cobot.adapters.card import AdapterCard
from cobot.adapters.checkpoint import DECODER_PREFIX, AdapterFile, require_finite
from cobot.adapters.config import AdapterConfig
from cobot.errors import AdapterError

_NAME = re.compile(r"w_([ab])_(\d{3})")


def import_lora(path: Path, card: AdapterCard) -> AdapterFile:
    """Return a LoRA file of SAMed's layout as an adapter of ours.

    Tensors 2l and 2l+1 are q and v of block l: `w_a_###` is A, (rank, width); `w_b_###` is B,
    (width, rank); the change is B A x without a factor. `mask_decoder.*` tensors are taken over.

    Args:
        path: a safetensors file; pickled .pt and .pth files are refused, since reading them could
            run code.
        card: base and provenance; the file itself names no base.

    Raises:
        AdapterError: the file is another kind, a number is missing, a shape does not fit, or a
            tensor holds what is no finite real number.
    """
    tensors = _read(path)
    # Once published, it could be made the active version.
    require_finite(tensors, path)
    decoder = {name: value for name, value in tensors.items() if name.startswith(DECODER_PREFIX)}
    lora = {name: value for name, value in tensors.items() if name not in decoder}
    slots = _slots(lora, path)
    rank = _rank(lora, slots, path)
    renamed = {
        f"blocks.{slot // 2}.attn.qkv.{'qv'[slot % 2]}.lora_{kind}": lora[f"w_{kind}_{slot:03d}"]
        for slot in range(slots)
        for kind in "ab"
    }
    # Blocks stay None, all of them: the numbers count adapted blocks and cannot tell which, so an
    # encoder of another depth must refuse the file.
    config = AdapterConfig.named("lora", width=rank, train_decoder=bool(decoder))
    return AdapterFile(config, card, renamed | decoder)


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file."""
    if path.suffix != ".safetensors":
        raise AdapterError(
            f"{path} is no .safetensors file. A pickled file could run code when read: let its "
            "owner save the tensors with safetensors.torch.save_file."
        )
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{path} cannot be read as safetensors: {error}.") from error


def _slots(lora: Mapping[str, Tensor], path: Path) -> int:
    """Return the number of slots, or refuse names that are not exactly 2L pairs from 0."""
    strange = sorted(name for name in lora if not _NAME.fullmatch(name))
    if strange:
        raise AdapterError(
            f"{path} holds {len(strange)} tensors that are neither w_a_###, w_b_### nor "
            f"{DECODER_PREFIX}*, such as {strange[:3]}: their training would be lost, so the file "
            "is refused."
        )
    count = len(lora) // 2
    expected = {f"w_{kind}_{slot:03d}" for slot in range(count) for kind in "ab"}
    if not count or count % 2 or set(lora) != expected:
        raise AdapterError(
            f"{path} must hold w_a_000 … and w_b_000 … without a gap, two of each a block (q, v); "
            f"got {len(lora)} tensors, missing {sorted(expected - set(lora))[:3]}."
        )
    return count


def _rank(lora: Mapping[str, Tensor], slots: int, path: Path) -> int:
    """Return the rank that all pairs share, or refuse."""
    first = lora["w_a_000"]
    rank = first.shape[0] if first.ndim == 2 else 0
    for slot in range(slots):
        a, b = lora[f"w_a_{slot:03d}"], lora[f"w_b_{slot:03d}"]
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != rank or b.shape[1] != rank:
            raise AdapterError(
                f"{path}: pair {slot:03d} has shapes {tuple(a.shape)} and {tuple(b.shape)}; "
                f"expected ({rank}, width) and (width, {rank}), as in pair 000."
            )
    return rank
