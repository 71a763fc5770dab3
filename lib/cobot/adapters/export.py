"""A LoRA adapter merged into its base: a plain SAM file that other tools open."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from cobot.adapters.attach import attach_adapters
from cobot.adapters.checkpoint import DECODER_PREFIX, AdapterFile
from cobot.adapters.handle import check_tensors
from cobot.atomic import atomic_path
from cobot.errors import AdapterError

_ENCODER_PREFIX = "image_encoder."


def merge_state(base: Mapping[str, Tensor], file: AdapterFile) -> dict[str, Tensor]:
    """Return a SAM state dict with the adapter merged in, same names, shapes and dtypes.

    Args:
        base: SAM's whole state dict (`image_encoder.*`, `mask_decoder.*`, …); not changed.
        file: a LoRA adapter, plain or orchestrated, or a trained decoder alone.

    Raises:
        AdapterError: AdaptFormer, which cannot be merged, or tensors that do not fit the base.
    """
    if file.config.method == "adaptformer":
        raise AdapterError(
            "AdaptFormer has a ReLU between down and up, so it cannot be merged into the base's "
            "weights: use it with cobot, or train a LoRA variant for export."
        )
    merged = dict(base)
    merged |= _merged_qkv(base, file)
    decoder = {DECODER_PREFIX + name: value for name, value in file.decoder_tensors().items()}
    if decoder:
        own = {name: value for name, value in base.items() if name.startswith(DECODER_PREFIX)}
        check_tensors(decoder, own, what="mask decoder")
        merged |= {name: value.to(base[name].dtype) for name, value in decoder.items()}
    return merged


def export_merged(base: Mapping[str, Tensor], file: AdapterFile, path: Path) -> None:
    """Write `merge_state` as a .pth that segment_anything's registry loads; whole or not at all."""
    merged = merge_state(base, file)
    with atomic_path(path) as temporary:
        torch.save(merged, temporary)


def _merged_qkv(base: Mapping[str, Tensor], file: AdapterFile) -> dict[str, Tensor]:
    """Return the weights that LoRA changes, by their names in the base."""
    if file.config.method != "lora":
        return {}
    encoder = _skeleton(base)
    handle = attach_adapters(encoder, file.config, torch.Generator().manual_seed(0))
    handle.load_tensors(file.adapter_tensors())
    handle.fold()
    names = [f"{place.path}.weight" for place in handle.placements]
    return {_ENCODER_PREFIX + name: encoder.get_parameter(name).detach() for name in names}


def _skeleton(base: Mapping[str, Tensor]) -> nn.Module:
    """Return a module tree with nothing but the blocks' qkv layers (and idle MLPs)."""
    blocks = nn.ModuleList()
    prefix = f"{_ENCODER_PREFIX}blocks."
    while (key := f"{prefix}{len(blocks)}.attn.qkv.weight") in base:
        attention, block = nn.Module(), nn.Module()
        attention.add_module("qkv", _linear(base[key]))
        block.add_module("attn", attention)
        block.add_module("mlp", nn.Identity())
        blocks.append(block)
    if not len(blocks):
        raise AdapterError(
            f"The base's state dict has no {prefix}0.attn.qkv.weight: give a whole SAM state dict."
        )
    encoder = nn.Module()
    encoder.add_module("blocks", blocks)
    return encoder


def _linear(weight: Tensor) -> nn.Linear:
    """Return a frozen linear layer on a given weight, without a copy."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer
