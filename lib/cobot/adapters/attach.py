"""A frozen encoder and a configuration in; the same encoder with adapters out."""

import torch
from torch import nn

from cobot.adapters.adaptformer import AdaptFormerMlp, BranchSettings, init_adaptformer
from cobot.adapters.config import AdapterConfig
from cobot.adapters.handle import AttachedAdapters, Placement
from cobot.adapters.lora import LoraQkv, build_lora, init_low_rank
from cobot.adapters.protocol import AdapterModule
from cobot.adapters.relation import CrossBlockRelation, LinkedColumn
from cobot.adapters.slot import SlotProjection, build_slot
from cobot.errors import AdapterError

_TARGET = {"lora": "attn.qkv", "adaptformer": "mlp"}


def attach_adapters(
    encoder: nn.Module, config: AdapterConfig, generator: torch.Generator
) -> AttachedAdapters:
    """Freeze an encoder and attach adapters to its blocks.

    Widths are read from each block, so they may differ; blocks are `encoder.blocks[i]` with
    `.attn.qkv` (a fused linear layer) and `.mlp`, as in segment_anything. With `init="zero"` the
    encoder's output is unchanged, bit for bit. Parameters take the base's device and dtype.

    Args:
        encoder: changed in place; give it back with `.detach()` of the result.
        config: the adapter; "freeze" and "lightweight" only freeze.
        generator: on the CPU; the same seed gives the same start on any device.

    Raises:
        AdapterError: a block is not there, is adapted already, or has no such layers.
    """
    bases = _find_bases(encoder, config)
    slots = len(bases) * config.slots_per_block
    relation = None
    if config.coefficients:
        relation = CrossBlockRelation(config.width, slots, config.relation, generator)
    placements = tuple(
        Placement(path, base, _build(base, config, _links(relation, config, index), generator))
        for index, (path, base) in enumerate(bases)
    )
    if relation is not None:
        relation.to(next(bases[0][1].parameters()))
    thawed = tuple(parameter for parameter in encoder.parameters() if parameter.requires_grad)
    handle = AttachedAdapters(encoder, config, placements, relation, thawed)
    handle.mount()
    return handle


def _find_bases(encoder: nn.Module, config: AdapterConfig) -> list[tuple[str, nn.Module]]:
    """Return path and module of each place to adapt."""
    if not config.has_branch:
        return []
    depth = len(list(_submodule(encoder, "blocks").children()))
    chosen = config.blocks if config.blocks is not None else tuple(range(depth))
    if chosen and chosen[-1] >= depth:
        raise AdapterError(
            f"Adapter blocks {chosen} reach beyond the encoder, which has blocks 0 to {depth - 1}."
        )
    paths = [f"blocks.{index}.{_TARGET[config.method]}" for index in chosen]
    bases = [(path, _submodule(encoder, path)) for path in paths]
    for path in (
        f"blocks.{index}.{target}" for index in range(depth) for target in _TARGET.values()
    ):
        if isinstance(_submodule(encoder, path), AdapterModule):
            raise AdapterError(
                f"The encoder's {path} carries an adapter already: detach it first; one encoder "
                "holds one adapter."
            )
    return bases


def _links(
    relation: CrossBlockRelation | None, config: AdapterConfig, index: int
) -> list[LinkedColumn | None]:
    """Return one block's columns: 2l and 2l+1 for LoRA's q and v, l for AdaptFormer."""
    count = config.slots_per_block
    if relation is None:
        return [None] * count
    return [LinkedColumn(relation, index * count + part) for part in range(count)]


def _build(
    base: nn.Module,
    config: AdapterConfig,
    links: list[LinkedColumn | None],
    generator: torch.Generator,
) -> AdapterModule:
    """Return the adapter of one place at its start, on the base's device and dtype."""
    slots = [build_slot(config, link, generator) for link in links]
    layer = (
        _build_lora(base, (slots[0], slots[1]), config, generator)
        if config.method == "lora"
        else _build_adaptformer(base, slots[0], config, generator)
    )
    like = next(base.parameters())
    for name, part in layer.named_children():
        if name != "base":
            part.to(like)
    return layer


def _build_adaptformer(
    base: nn.Module, slot: SlotProjection, config: AdapterConfig, generator: torch.Generator
) -> AdaptFormerMlp:
    """Return AdaptFormer beside one MLP at its start."""
    layer = AdaptFormerMlp(base, slot, BranchSettings(config.scale, config.dropout))
    init_adaptformer(layer, generator)
    return layer


def _build_lora(
    base: nn.Module,
    slots: tuple[SlotProjection, SlotProjection],
    config: AdapterConfig,
    generator: torch.Generator,
) -> LoraQkv:
    """Return LoRA of one qkv layer at its start."""
    layer = build_lora(base, slots, config.scale)
    for branch in (layer.q, layer.v):
        init_low_rank(branch, config.init, generator)
    return layer


def _submodule(encoder: nn.Module, path: str) -> nn.Module:
    """Return a part of the encoder, or say which is missing."""
    try:
        return encoder.get_submodule(path)
    except AttributeError as error:
        raise AdapterError(
            f"The encoder {type(encoder).__name__} has no {path}: adapters need blocks[i].attn.qkv "
            "and blocks[i].mlp, as in segment_anything's image encoder."
        ) from error
