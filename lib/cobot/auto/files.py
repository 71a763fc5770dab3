"""Label prompts beside the adapter they were learnt on: one safetensors file, checked strictly."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from cobot.adapters.checkpoint import read_adapter
from cobot.adapters.handle import check_tensors
from cobot.atomic import atomic_path
from cobot.auto.prompter import LabelPrompter
from cobot.auto.settings import AutoSettings
from cobot.errors import AdapterError
from cobot.sam.adapted_sam import adapter_sha256

FILE_NAME = "label_prompts.safetensors"
FORMAT_VERSION = 1
_METADATA_KEY = "label_prompts"


@dataclass(frozen=True, slots=True, eq=False)
class LabelPrompts:
    """What segments without being asked, for one adapter.

    Attributes:
        settings: labels, windows, plane, and which adapter it belongs to.
        prompter: the learnt parts, in evaluation mode.
    """

    settings: AutoSettings
    prompter: LabelPrompter


def write_label_prompts(folder: Path, prompts: LabelPrompts) -> Path:
    """Add label prompts to an adapter version; what the version holds already is not touched.

    Args:
        folder: of the version.
        prompts: learnt on that version.

    Returns:
        The file.

    Raises:
        AdapterError: they belong to another adapter, or the version carries some already.
        ImageWriteError: the disk refuses; nothing carries the file's name.
    """
    path = folder / FILE_NAME
    if path.exists():
        raise AdapterError(
            f"{path} exists already, and what is published is never overwritten: train another "
            "version, or move this file away."
        )
    _require_same_adapter(prompts.settings, folder)
    header = {"format_version": FORMAT_VERSION, **prompts.settings.to_dict()}
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in prompts.prompter.state_dict().items()
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={_METADATA_KEY: text}))
    return path


def read_label_prompts(folder: Path) -> LabelPrompts | None:
    """The label prompts of an adapter version; None if it carries none.

    Raises:
        AdapterError: the file is damaged, of another format, has other tensors than its settings
            say, or belongs to another adapter.
    """
    settings = read_auto_settings(folder)
    if settings is None:
        return None
    _require_same_adapter(settings, folder)
    path = folder / FILE_NAME
    generator = torch.Generator().manual_seed(0)
    prompter = LabelPrompter(settings.shape, len(settings.names), generator)
    try:
        with safe_open(path, framework="pt") as source:
            tensors = {name: source.get_tensor(name) for name in source.keys()}
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{path} cannot be read: {error}.") from error
    check_tensors(tensors, prompter.state_dict(), what="label prompts")
    prompter.load_state_dict(tensors)
    return LabelPrompts(settings, prompter.eval().requires_grad_(False))


def read_auto_settings(folder: Path) -> AutoSettings | None:
    """The settings alone, fast; None if the version carries no label prompts.

    Raises:
        AdapterError: the file is damaged or of another format.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as source:
            text = (source.metadata() or {}).get(_METADATA_KEY, "")
        header = json.loads(text)
    except (OSError, SafetensorError, ValueError) as error:
        raise AdapterError(
            f"{path} is damaged or holds no label prompts ({error}); move it away and learn them "
            "again with `cobot train --auto`."
        ) from error
    version = header.pop("format_version", None) if isinstance(header, dict) else None
    if version != FORMAT_VERSION:
        raise AdapterError(
            f"{path} has format version {version}, this program reads {FORMAT_VERSION}: update "
            "cobot, or learn the label prompts again."
        )
    return AutoSettings.from_dict(header)


def _require_same_adapter(settings: AutoSettings, folder: Path) -> None:
    """Refuse label prompts of another adapter: on its embeddings they would find nonsense."""
    found = adapter_sha256(read_adapter(folder))
    if settings.adapter_sha256 != found:
        raise AdapterError(
            f"The label prompts were learnt on the adapter with SHA-256 {settings.adapter_sha256}, "
            f"but {folder} holds {found}: learn them on this version with `cobot train --auto`."
        )
