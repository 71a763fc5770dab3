"""A saved adapter onto a model, and off again."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cobot.adapters.attach import attach_adapters
from cobot.adapters.card import AdapterCard
from cobot.adapters.checkpoint import (
    AdapterFile,
    check_base,
    check_decoder,
    collect_adapter,
    read_adapter,
    write_adapter,
)
from cobot.adapters.handle import AttachedAdapters
from cobot.errors import AdapterError


@dataclass(frozen=True, slots=True)
class AdaptableModel:
    """The parts of a SAM that an adapter touches, and which base they are.

    Attributes:
        encoder: SAM's image encoder with the base's weights.
        mask_decoder: SAM's mask decoder.
        name: the encoder's name, for example "vit_b".
        base_sha256: SHA-256 of the base's weights.
    """

    encoder: nn.Module
    mask_decoder: nn.Module
    name: str
    base_sha256: str


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """An adapter in place, with what is needed to take it off.

    Attributes:
        model: the model that carries it.
        handle: the encoder's adapters.
        card: the adapter's provenance.
        decoder_before: the mask decoder's tensors before; empty if the adapter brought none.
    """

    model: AdaptableModel
    handle: AttachedAdapters
    card: AdapterCard
    decoder_before: Mapping[str, Tensor]

    def unload(self) -> None:
        """Give encoder and mask decoder back as they were, exactly."""
        self.handle.detach()
        self._fill_decoder(self.decoder_before)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Within the block encoder and mask decoder are the base, exactly."""
        adapted = _copy(self.model.mask_decoder) if self.decoder_before else {}
        with self.handle.disabled():
            self._fill_decoder(self.decoder_before)
            try:
                yield
            finally:
                self._fill_decoder(adapted)

    def _fill_decoder(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy tensors into the mask decoder, if there are any."""
        if tensors:
            self.model.mask_decoder.load_state_dict(dict(tensors))


def apply_adapter(file: AdapterFile, model: AdaptableModel) -> LoadedAdapter:
    """Attach an adapter to a model and fill in its tensors; a refusal leaves the model as it was.

    Raises:
        AdapterError: the base is another one, or names or shapes do not fit; both sides are named.
    """
    check_base(file.card, model.name, model.base_sha256)
    decoder = file.decoder_tensors()
    if decoder:
        check_decoder(file, model.mask_decoder)
    # Every value is overwritten by the file's, so the seed does not matter.
    handle = attach_adapters(model.encoder, file.config, torch.Generator().manual_seed(0))
    try:
        handle.load_tensors(file.adapter_tensors())
    except AdapterError:
        handle.detach()
        raise
    before = _copy(model.mask_decoder) if decoder else {}
    loaded = LoadedAdapter(model, handle, file.card, before)
    loaded._fill_decoder(decoder)
    return loaded


def load_adapter(folder: Path, model: AdaptableModel) -> LoadedAdapter:
    """Read an adapter's folder and apply it: `read_adapter`, then `apply_adapter`."""
    return apply_adapter(read_adapter(folder), model)


def save_adapter(
    folder: Path,
    handle: AttachedAdapters,
    card: AdapterCard,
    mask_decoder: nn.Module | None = None,
) -> None:
    """Write the present adapter to a new folder: `collect_adapter`, then `write_adapter`."""
    write_adapter(folder, collect_adapter(handle, card, mask_decoder))


def _copy(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's tensors apart from its memory."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
