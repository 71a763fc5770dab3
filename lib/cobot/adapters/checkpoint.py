"""An adapter's folder on disk: safetensors and JSON, checked strictly, written atomically."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cobot.adapters.card import AdapterCard
from cobot.adapters.config import AdapterConfig
from cobot.adapters.handle import AttachedAdapters, check_tensors
from cobot.atomic import atomic_folder
from cobot.errors import AdapterError

FORMAT_VERSION = 1
TENSORS_NAME = "adapter_model.safetensors"
CONFIG_NAME = "adapter_config.json"
DECODER_PREFIX = "mask_decoder."
_METADATA_KEY = "adapter_config"


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """An adapter as a value: configuration, card and tensors, the shared ones once.

    Tensor names are the handle's (`blocks.0.attn.qkv.q.lora_a`, `relation.linked`), and
    `mask_decoder.*` for a trained decoder.
    """

    config: AdapterConfig
    card: AdapterCard
    tensors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        if self.config.method == "freeze":
            raise AdapterError("Method 'freeze' trains nothing, so there is nothing to save.")
        if self.config.train_decoder != bool(self.decoder_tensors()):
            raise AdapterError(
                f"Adapter has train_decoder={self.config.train_decoder}, but carries "
                f"{len(self.decoder_tensors())} mask decoder tensors: save the decoder when it was "
                "trained, and only then."
            )

    def adapter_tensors(self) -> dict[str, Tensor]:
        """Return the encoder's part."""
        return {k: v for k, v in self.tensors.items() if not k.startswith(DECODER_PREFIX)}

    def decoder_tensors(self) -> dict[str, Tensor]:
        """Return the mask decoder's part, named as in its own state dict."""
        return {
            name.removeprefix(DECODER_PREFIX): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(DECODER_PREFIX)
        }

    def header(self) -> dict[str, object]:
        """Return the JSON document of the file: format version, adapter settings and card."""
        return {
            "format_version": FORMAT_VERSION,
            "adapter": self.config.to_dict(),
            "card": self.card.to_dict(),
        }


def collect_adapter(
    handle: AttachedAdapters, card: AdapterCard, mask_decoder: nn.Module | None = None
) -> AdapterFile:
    """Return the present adapter as a value on the CPU, apart from the model's memory.

    Args:
        handle: the attached adapter.
        card: its provenance.
        mask_decoder: SAM's mask decoder; needed exactly when the configuration trains it.

    Raises:
        AdapterError: the decoder is missing although trained, or nothing is trained.
    """
    tensors = handle.tensors()
    if handle.config.train_decoder and mask_decoder is not None:
        tensors |= {DECODER_PREFIX + k: v for k, v in mask_decoder.state_dict().items()}
    copies = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    return AdapterFile(handle.config, card, copies)


def write_adapter(folder: Path, file: AdapterFile) -> None:
    """Write an adapter's folder; it appears whole or not at all.

    Raises:
        AdapterError: the folder exists: adapters are never overwritten.
        OSError: the disk refuses; nothing carries the folder's name.
    """
    if folder.exists():
        raise AdapterError(
            f"Adapter folder {folder} exists already, and adapters are never overwritten: choose "
            "another name."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(file.header(), indent=2, sort_keys=True, allow_nan=False)
    tensors = {name: tensor.contiguous() for name, tensor in file.tensors.items()}
    with atomic_folder(folder) as temporary:
        # safetensors' own writer would make the file unreadable for the store's other users.
        content = save(tensors, metadata={_METADATA_KEY: text})
        (temporary / TENSORS_NAME).write_bytes(content)
        (temporary / CONFIG_NAME).write_text(text + "\n", encoding="utf-8")


def read_header(folder: Path) -> tuple[AdapterConfig, AdapterCard]:
    """Return an adapter's settings and card without reading its tensors.

    The JSON beside the tensors must say the same as the one inside; it may be missing, since a
    lone safetensors file is complete.

    Raises:
        AdapterError: a file is missing, damaged, of another version, or the two texts differ.
    """
    header = _parse(_read_metadata(folder / TENSORS_NAME), folder / TENSORS_NAME)
    beside = folder / CONFIG_NAME
    if beside.exists() and _parse(_read_text(beside), beside) != header:
        raise AdapterError(
            f"{beside} differs from the settings inside {TENSORS_NAME}: one of them was changed by "
            "hand. Restore it, or delete the JSON file."
        )
    adapter, card = header.get("adapter"), header.get("card")
    if not isinstance(adapter, dict) or not isinstance(card, dict):
        raise AdapterError(f"{folder / TENSORS_NAME} has no adapter settings or no card inside.")
    return AdapterConfig.from_dict(adapter), AdapterCard.from_dict(card)


def read_adapter(folder: Path) -> AdapterFile:
    """Return an adapter from its folder.

    Raises:
        AdapterError: as `read_header`, or the tensors cannot be read.
    """
    config, card = read_header(folder)
    try:
        with safe_open(folder / TENSORS_NAME, framework="pt") as source:
            tensors = {name: source.get_tensor(name) for name in source.keys()}
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{folder / TENSORS_NAME} cannot be read: {error}.") from error
    require_finite(tensors, folder / TENSORS_NAME)
    return AdapterFile(config, card, tensors)


def require_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that no model can compute with; one of them would spoil every mask.

    Raises:
        AdapterError: names the file and the first such tensor.
    """
    for name, tensor in tensors.items():
        if tensor.is_complex() or not torch.isfinite(tensor).all():
            raise AdapterError(
                f"{path} holds numbers that are NaN, infinite or complex, in {name}; expected "
                "finite real ones. Copy it again, or train another."
            )


def check_base(card: AdapterCard, encoder: str, base_sha256: str) -> None:
    """Refuse an adapter made for another base; an adapter on a wrong base fails silently.

    Raises:
        AdapterError: naming both sides.
    """
    if (card.encoder, card.base_sha256) != (encoder, base_sha256):
        raise AdapterError(
            f"The adapter was made for {card.encoder} with base weights SHA-256 {card.base_sha256},"
            f" but the model is {encoder} with {base_sha256}. Load those weights, or another "
            "adapter."
        )


def check_decoder(file: AdapterFile, mask_decoder: nn.Module) -> None:
    """Refuse a mask decoder that the file's tensors do not fit exactly."""
    check_tensors(file.decoder_tensors(), mask_decoder.state_dict(), what="mask decoder")


def _read_metadata(path: Path) -> str:
    """Return the settings' text inside a safetensors file."""
    try:
        with safe_open(path, framework="pt") as source:
            metadata = source.metadata() or {}
    except FileNotFoundError as error:
        raise AdapterError(
            f"{path} does not exist: an adapter is a folder with {TENSORS_NAME}."
        ) from error
    except (OSError, SafetensorError) as error:
        raise AdapterError(
            f"{path} is damaged or no safetensors file ({error}); copy it again."
        ) from error
    if _METADATA_KEY not in metadata:
        raise AdapterError(
            f"{path} carries no adapter settings. If it holds w_a_000 tensors, bring it in with "
            "`cobot adapters import`."
        )
    return str(metadata[_METADATA_KEY])


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise AdapterError(f"{path} holds no valid JSON: {error}.") from error


def _parse(text: str, path: Path) -> dict[str, object]:
    """Return a header of the version that this code reads."""
    try:
        header = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise AdapterError(f"{path} holds no valid JSON: {error}.") from error
    version = header.get("format_version") if isinstance(header, dict) else None
    if version != FORMAT_VERSION:
        raise AdapterError(
            f"{path} has format version {version}, this program reads {FORMAT_VERSION}: update "
            "cobot, or write the adapter again."
        )
    return dict(header)
