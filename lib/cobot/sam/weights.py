"""Fill a SAM with weights from a file, or say what is wrong with the file."""

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from segment_anything.modeling import Sam
from torch import Tensor

from cobot.atomic import atomic_path
from cobot.checksum import file_sha256 as file_sha256
from cobot.errors import WeightsError
from cobot.sam.build import ENCODERS, EncoderShape, build, encoder_shape
from cobot.sam.home import cobot_home
from cobot.sam.official import OFFICIAL

NAMES_SHOWN = 3

DAMAGE = (
    *(RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError),
    *(AssertionError, struct.error, pickle.UnpicklingError, SafetensorError),
)
"""What the readers raise for files with bytes cut off or changed (found by trying)."""


@dataclass(frozen=True, slots=True)
class LoadedSam:
    """A SAM with its weights.

    Attributes:
        sam: on the CPU, fp32, in evaluation mode.
        shape: its sizes.
        sha256: of the file the weights came from; adapters are bound to it.
    """

    sam: Sam
    shape: EncoderShape
    sha256: str


def load_sam(name: str, path: Path | None = None) -> LoadedSam:
    """Build a SAM and fill it.

    Args:
        name: vit_b, vit_l, vit_h or tiny.
        path: a `.pth` state dict, as published with segment_anything, or a `.safetensors` file
            with the same names; by default the file that `cobot fetch` leaves in COBOT_HOME, and
            for tiny the one inside this package. Nothing is ever unpickled.

    Raises:
        ConfigError: no encoder has that name.
        WeightsError: the file is missing, damaged, not a state dict, or of another model.
    """
    shape = encoder_shape(name)
    file = path or default_weights_path(name)
    if not file.is_file():
        raise WeightsError(_missing_message(name, file))
    state = _read_state(file)
    _require_match(name, file, state)
    sam = build(name)
    sam.load_state_dict({key: value.float() for key, value in state.items()})
    return LoadedSam(sam=sam, shape=shape, sha256=file_sha256(file))


def default_weights_path(name: str) -> Path:
    """Where the weights of an encoder are when the user names no file."""
    if name in OFFICIAL:
        return cobot_home() / OFFICIAL[name].file_name
    return Path(str(resources.files("cobot.sam").joinpath(f"{name}.safetensors")))


def _missing_message(name: str, file: Path) -> str:
    if name in OFFICIAL:
        return (
            f"The weights of {name} are not at {file}; run `cobot fetch {name}`, copy the file "
            f"{OFFICIAL[name].file_name} there, or name yours with --weights."
        )
    return f"The weights of {name} should be at {file}; install sam-cobot again, or name a file."


def _read_state(file: Path) -> Mapping[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        raise WeightsError(
            f"{file} cannot be read as weights: it is cut short, damaged, or holds more than "
            "tensors (which is refused, since reading it could run code). Expected a PyTorch state "
            "dict (.pth) or a .safetensors file; fetch or copy it again."
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise WeightsError(
            f"{file} holds no plain state dict (names to tensors) but {_describe(state)}; "
            "save the model's state_dict() alone."
        )
    return state


def _describe(content: object) -> str:
    if not isinstance(content, dict):
        return f"one {type(content).__name__}"
    return f"a dict with {', '.join(map(repr, list(content)[:NAMES_SHOWN]))}"


@cache
def _expected_shapes(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in build(name).state_dict().items()}


def _require_match(name: str, file: Path, state: Mapping[str, Tensor]) -> None:
    expected = _expected_shapes(name)
    given = {key: tuple(value.shape) for key, value in state.items()}
    if given == expected:
        return
    resized = [key for key in expected if key in given and given[key] != expected[key]]
    faults = [
        _listed("missing", [key for key in expected if key not in given]),
        _listed("extra", [key for key in given if key not in expected]),
        _listed("of another size", [f"{key} {given[key]} for {expected[key]}" for key in resized]),
    ]
    likely = [other for other in ENCODERS if other != name and _expected_shapes(other) == given]
    cure = (
        f"These are the weights of {likely[0]}: ask for --encoder {likely[0]}."
        if likely
        else f"Give the weights of a whole SAM {name}, as published."
    )
    raise WeightsError(f"{file} does not fit {name}: {'; '.join(filter(None, faults))}. {cure}")


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{len(names)} {what}: {', '.join(names[:NAMES_SHOWN])}{more}"


def save_half(sam: Sam, path: Path, made_by: Mapping[str, str]) -> None:
    """Write weights in half precision as safetensors, with how they were made as metadata."""
    state = {key: value.detach().half().contiguous() for key, value in sam.state_dict().items()}
    with atomic_path(path) as temporary:
        # safetensors' own writer would make the file unreadable for other users of the machine.
        temporary.write_bytes(save(state, metadata=dict(made_by)))
