"""The adapters of one encoder, and the switches between adapted, folded and base form."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cobot.adapters.config import AdapterConfig
from cobot.adapters.protocol import AdapterModule
from cobot.adapters.relation import CrossBlockRelation
from cobot.errors import AdapterError

RELATION_NAME = "cobot_relation"
"""Attribute of the encoder that holds the shared relation while an adapter is attached."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One adapted place: its path in the encoder, what was there, and what is there now."""

    path: str
    base: nn.Module
    adapter: AdapterModule


@dataclass(frozen=True, slots=True)
class AttachedAdapters:
    """The adapters of one encoder, and the switches between adapted, folded and base form.

    Switching exchanges modules in the encoder: base modules are never altered, so the base comes
    back exactly. Only one form is in place at a time; every switch may be repeated. Not for use
    from two threads at once.

    Attributes:
        encoder: the encoder whose modules are exchanged.
        config: what was attached.
        placements: the adapted places, block by block; empty for "freeze" and "lightweight".
        relation: the shared relation, or None without coefficients.
        thawed: the base's parameters that required gradients before.
    """

    encoder: nn.Module
    config: AdapterConfig
    placements: tuple[Placement, ...]
    relation: CrossBlockRelation | None
    thawed: tuple[nn.Parameter, ...]

    def mount(self) -> None:
        """Put the trainable adapters in place (as `attach_adapters` left them)."""
        for place in self.placements:
            place.adapter.train(place.base.training)
            _put(self.encoder, place.path, place.adapter)
        if self.relation is not None:
            self.encoder.add_module(RELATION_NAME, self.relation)
        self.encoder.requires_grad_(False)
        for parameter in self.parameters().values():
            parameter.requires_grad_(True)

    def detach(self) -> None:
        """Put the base modules back, the very objects, and let train again what could before."""
        self._unmount()
        for parameter in self.thawed:
            parameter.requires_grad_(True)

    def fold(self) -> None:
        """Put folded layers in place: same function, less work, nothing to train.

        LoRA becomes part of qkv; an orchestrated AdaptFormer becomes a plain one. Parameters
        changed afterwards are not seen until the next `fold`. `unfold` is the exact way back.
        """
        folded = [(place, place.adapter.folded()) for place in self.placements]
        self._unmount()
        for place, module in folded:
            _put(self.encoder, place.path, module.train(place.base.training))

    def unfold(self) -> None:
        """Put the trainable adapters back in the place of folded layers."""
        self.mount()

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Within the block the encoder is the base, exactly; afterwards what was in place before.

        The mask decoder is not touched.
        """
        before = [(place, self.encoder.get_submodule(place.path)) for place in self.placements]
        had_relation = RELATION_NAME in dict(self.encoder.named_children())
        self._unmount()
        try:
            yield
        finally:
            for place, module in before:
                _put(self.encoder, place.path, module.train(place.base.training))
            if had_relation:
                self.encoder.add_module(RELATION_NAME, self.relation)

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return every trainable parameter by its name in an adapter file, each once."""
        named = {
            f"{place.path}.{name}": parameter
            for place in self.placements
            for name, parameter in place.adapter.adapter_parameters().items()
        }
        return named | self._relation_parameters()

    def orchestration_parameters(self) -> dict[str, nn.Parameter]:
        """Return COBOT's part of the parameters: S, Λ and W."""
        named = {
            f"{place.path}.{name}": parameter
            for place in self.placements
            for name, parameter in place.adapter.orchestration_parameters().items()
        }
        return named | self._relation_parameters()

    def tensors(self) -> dict[str, Tensor]:
        """Return what an adapter file holds: the parameters and a fixed S; detached views."""
        named: dict[str, Tensor] = {**self.parameters()}
        if self.relation is not None:
            for name, tensor in self.relation.state_dict(keep_vars=True).items():
                named[f"relation.{name}"] = tensor
        return {name: tensor.detach() for name, tensor in named.items()}

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy values in, strictly; nothing is changed when a name or shape does not fit.

        Raises:
            AdapterError: names are missing or extra, or a shape differs; both sides are named.
        """
        own = self.tensors()
        check_tensors(tensors, own, what="adapter")
        for name, tensor in own.items():
            tensor.copy_(tensors[name])

    def _relation_parameters(self) -> dict[str, nn.Parameter]:
        """Return the shared parameters, each once."""
        if self.relation is None:
            return {}
        return {f"relation.{name}": value for name, value in self.relation.named_parameters()}

    def _unmount(self) -> None:
        """Put the base modules in place and take the relation out."""
        for place in self.placements:
            _put(self.encoder, place.path, place.base)
        if RELATION_NAME in dict(self.encoder.named_children()):
            delattr(self.encoder, RELATION_NAME)


def check_tensors(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    """Refuse tensors whose names or shapes are not exactly the expected ones.

    Raises:
        AdapterError: with the first few names or the first shape of both sides.
    """
    missing = sorted(set(expected) - set(given))
    extra = sorted(set(given) - set(expected))
    if missing or extra:
        raise AdapterError(
            f"The {what}'s tensors do not fit: {len(missing)} missing {missing[:3]}, {len(extra)} "
            f"extra {extra[:3]}. Use the encoder, method and blocks it was made for."
        )
    for name, tensor in expected.items():
        if given[name].shape != tensor.shape:
            raise AdapterError(
                f"The {what}'s tensor {name} has shape {tuple(given[name].shape)}, the model needs "
                f"{tuple(tensor.shape)}. Use the encoder and width it was made for."
            )


def _put(encoder: nn.Module, path: str, module: object) -> None:
    """Exchange one module of the encoder."""
    parent, _, name = path.rpartition(".")
    setattr(encoder.get_submodule(parent), name, module)
