"""A SAM with the parts of it that learn, beside its untouched base."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn

from cobot.adapters.attach import attach_adapters
from cobot.adapters.card import AdapterCard
from cobot.adapters.checkpoint import (
    DECODER_PREFIX,
    AdapterFile,
    check_base,
    collect_adapter,
)
from cobot.adapters.config import AdapterConfig
from cobot.adapters.handle import AttachedAdapters, check_tensors
from cobot.errors import AdapterError, ConfigError
from cobot.sam.adapted_sam import twin_of
from cobot.sam.frozen_base import cast_frozen
from cobot.sam.weights import LoadedSam
from cobot.training.recipe import Recipe
from cobot.training.side_task import SideTask

BESIDE_PREFIX = "beside."


@dataclass(frozen=True, slots=True, eq=False)
class Trainee:
    """What learns.

    Attributes:
        base: its tensors are shared by `sam` but for the mask decoder, and never change.
        sam: carries the adapter; in training mode.
        handle: the adapter.
        config: of the adapter.
        beside: learns too, on the embeddings, and is in no adapter file.
    """

    base: LoadedSam
    sam: Sam
    handle: AttachedAdapters
    config: AdapterConfig
    beside: SideTask | None = None

    @property
    def decoder_parameters(self) -> tuple[nn.Parameter, ...]:
        """Of the mask decoder, if it learns."""
        return tuple(self.sam.mask_decoder.parameters()) if self.config.train_decoder else ()

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        """Everything that learns, in a fixed order."""
        own = self.handle.parameters().values()
        return (*own, *self.decoder_parameters, *self.beside_parameters)

    @property
    def beside_parameters(self) -> tuple[nn.Parameter, ...]:
        """Of what learns beside the adapter."""
        every = () if self.beside is None else self.beside.parameters()
        return tuple(one for one in every if one.requires_grad)

    @property
    def frozen_encoder(self) -> bool:
        """Whether a slice's embedding stays the same all along."""
        return not self.config.has_branch

    def groups(self, recipe: Recipe) -> list[dict[str, object]]:
        """The optimiser's groups: the adapter's own weights; S, Λ and W; the decoder; the rest."""
        fast = self.handle.orchestration_parameters()
        slow = [value for name, value in self.handle.parameters().items() if name not in fast]
        groups: list[dict[str, object]] = [
            {"params": slow, "lr": recipe.learning_rate},
            {"params": list(fast.values()), "lr": recipe.orchestration_rate},
            {"params": list(self.decoder_parameters), "lr": recipe.decoder_rate},
        ]
        if self.beside is not None:
            groups.append({"params": list(self.beside_parameters), "lr": self.beside.learning_rate})
        return [group | {"top": group["lr"]} for group in groups if group["params"]]

    def snapshot(self, card: AdapterCard) -> AdapterFile:
        """The adapter as it is now, on the CPU."""
        decoder = self.sam.mask_decoder if self.config.train_decoder else None
        return collect_adapter(self.handle, card, decoder)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that learns, as an adapter file names it, and what learns beside; views."""
        named = self.handle.tensors()
        if self.config.train_decoder:
            for name, tensor in self.sam.mask_decoder.state_dict().items():
                named[f"{DECODER_PREFIX}{name}"] = tensor
        if self.beside is not None:
            for name, tensor in self.beside.state_dict().items():
                named[f"{BESIDE_PREFIX}{name}"] = tensor
        return named

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` gave, or an adapter file's tensors of the same configuration.

        Raises:
            AdapterError: names or shapes do not fit.
        """
        check_tensors(tensors, self.tensors(), what="adapter")
        with torch.no_grad():
            for name, own in self.tensors().items():
                own.copy_(tensors[name])


def build_trainee(
    base: LoadedSam,
    config: AdapterConfig,
    seed: int,
    begin_with: AdapterFile | None = None,
    narrow: bool = False,
) -> Trainee:
    """Attach a fresh adapter, or one to go on with, to a twin of the base.

    Args:
        base: on the device where training runs.
        config: of the adapter.
        seed: of the adapter's start.
        begin_with: an adapter to go on with.
        narrow: keep the matrices of the twin's frozen encoder in bfloat16, for training under
            autocast to it; what learns and the base stay in fp32.

    Raises:
        ConfigError: the method trains nothing.
        AdapterError: the adapter to go on with is of another base or configuration.
    """
    require_trainable(config)
    if begin_with is not None:
        check_base(begin_with.card, base.shape.name, base.sha256)
        if begin_with.config != config:
            raise AdapterError(
                f"The adapter to go on with is {_described(begin_with.config)}, not "
                f"{_described(config)}: choose its method, width and blocks, or start afresh."
            )
    sam = twin_of(base.sam, own_decoder=True)
    handle = attach_adapters(sam.image_encoder, config, torch.Generator().manual_seed(seed))
    sam.prompt_encoder.requires_grad_(False)
    if narrow:
        cast_frozen(sam.image_encoder)
    trainee = Trainee(base, sam.train(), handle, config)
    if begin_with is not None:
        trainee.load(begin_with.tensors)
    return trainee


def _described(config: AdapterConfig) -> str:
    """What tells two configurations apart, most of the time."""
    where = "" if config.blocks is None else f", blocks {list(config.blocks)}"
    return f"{config.name} (V {config.width}{where})"


def require_trainable(config: AdapterConfig) -> None:
    """Refuse a method that trains nothing.

    Raises:
        ConfigError: it is "freeze".
    """
    if config.method == "freeze":
        raise ConfigError("Method 'freeze' trains nothing; measure it with `cobot evaluate`.")


def copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU, apart from the model's memory."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
