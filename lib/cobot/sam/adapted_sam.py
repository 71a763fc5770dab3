"""A SAM with an adapter folded in, beside its untouched base and on the same memory."""

import copy
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn

from cobot.adapters.checkpoint import AdapterFile
from cobot.adapters.loading import AdaptableModel, apply_adapter
from cobot.sam.weights import LoadedSam


@dataclass(frozen=True, slots=True)
class AdaptedSam:
    """A SAM that carries one adapter for good.

    Attributes:
        sam: its own modules; every weight that the adapter leaves alone is the base's very
            tensor, so a second adapter costs only what it changes.
        adapter_sha256: of the adapter's settings and tensors.
        side_px: side of the input the adapter was trained at; None if its card does not say.
    """

    sam: Sam
    adapter_sha256: str
    side_px: int | None


def adapt_sam(loaded: LoadedSam, file: AdapterFile, fold: bool = True) -> AdaptedSam:
    """Give a twin of the base an adapter; the base stays as it is and may be in use.

    Args:
        loaded: the base, on any device; the twin shares its tensors.
        file: the adapter.
        fold: merge what can be merged, summed in double precision: LoRA, orchestrated or not,
            becomes part of qkv, and COBOT's part of AdaptFormer moves into its `down`. The same
            function to rounding, at the base's cost. Without it the adapter's own modules stay.

    Raises:
        AdapterError: the adapter was made for another base, or does not fit; both are named.
    """
    twin = twin_of(loaded.sam, own_decoder=bool(file.decoder_tensors()))
    model = AdaptableModel(twin.image_encoder, twin.mask_decoder, loaded.shape.name, loaded.sha256)
    handle = apply_adapter(file, model).handle
    if fold:
        handle.fold()
    # Attaching froze the encoder's weights, and those are the base's too.
    for parameter in handle.thawed:
        parameter.requires_grad_(True)
    return AdaptedSam(twin.eval(), adapter_sha256(file), file.card.image_size_px or None)


def adapter_sha256(file: AdapterFile) -> str:
    """The checksum of what an adapter does: settings, names, shapes and values; not its card."""
    digest = hashlib.sha256(json.dumps(file.config.to_dict(), sort_keys=True).encode())
    for name, tensor in sorted(file.tensors.items()):
        digest.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def twin_of(sam: Sam, own_decoder: bool) -> Sam:
    """A SAM of its own modules on the tensors of another.

    Args:
        sam: the other; move it to its device first.
        own_decoder: copy the tensors of the mask decoder too, since they will be overwritten.
    """
    shared = nn.ModuleList(
        [sam.image_encoder, sam.prompt_encoder, *([] if own_decoder else [sam.mask_decoder])]
    )
    kept = [*_tensors(shared), sam.pixel_mean, sam.pixel_std]
    # deepcopy takes for copied whatever its memo holds under the object's id.
    return copy.deepcopy(sam, {id(tensor): tensor for tensor in kept})


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
