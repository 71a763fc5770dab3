"""Pretrain `tiny` from nothing: one readable loop, reproducible and resumable."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from lightning_fabric import Fabric
from segment_anything.modeling import Sam
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from cobot.atomic import atomic_path
from cobot.errors import ConfigError
from cobot.sam.decoder import PromptTokens
from cobot.sam.encoder import encode_image
from cobot.sam.encoder_plan import choose_dtype
from cobot.sam.frame import SAM_MEAN, SAM_STD
from cobot.training.augment import PictureRule, TrainingPicture, training_picture
from cobot.training.interactive_rounds import (
    Conversation,
    conversation_loss,
    first_prompts,
)
from cobot.training.pretrain_parts import DetailHead, build_optimisers
from cobot.training.processes import mean_gradients
from cobot.training.slice_bank import SliceBank

SMALLEST_OBJECT_PX = 9
DETAIL_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps at one input size and length of conversation: small and short first, full last.

    One answer for each object is twice as fast as three, and that is all a fresh encoder needs.
    Each stage has its own half cosine, so that a stage can be added to a finished run.

    Attributes:
        side_px: of the input.
        steps: updates.
        batch_size: pictures of an update, shared by the processes.
        learning_rate: at its top.
        rounds: mean length of a conversation; each step draws 1 to 2 * rounds - 1.
        draws_prompts: the first prompt is also drawn as a mask prompt.
        planned_steps: length of the half cosine, where the stage was cut short.
        box_probability: how often an object is asked for by a box, not by a click.
        blob_probability: how often blobs are pasted into a picture.
        layer_weights: how often an object is an organ, a superpixel, a grey band, a blob, where
            the picture has them all.
        freedom: how often a picture strays far from the size and angle it has at inference.
    """

    side_px: int
    steps: int
    batch_size: int
    learning_rate: float = 1e-3
    rounds: int = 3
    draws_prompts: bool = True
    planned_steps: int = 0
    box_probability: float = 0.6
    blob_probability: float = 0.4
    layer_weights: tuple[float, ...] = (5.0, 2.0, 2.0, 1.0)
    freedom: float = 1.0

    @property
    def schedule_steps(self) -> int:
        """Length of the half cosine; longer than the stage where the stage was cut short."""
        return self.planned_steps or self.steps


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """Everything that decides the result, beside the bank."""

    stages: tuple[Stage, ...]
    seed: int = 0
    objects: int = 6
    weight_decay: float = 0.05
    warmup_steps: int = 300
    average_decay: float = 0.99
    save_every: int = 250

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> tuple[Stage, int]:
        """The stage that step number `step` (from 0) belongs to, and the step within it."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        raise ConfigError(f"All {self.steps} steps are done; add a stage to go on.")

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, then a half cosine to 2 % of the stage's top rate."""
        stage, step = self.stage_at(step)
        warmup = min(self.warmup_steps, stage.schedule_steps // 10 + 1)
        if step < warmup:
            return stage.learning_rate * (step + 1) / warmup
        done = (step - warmup) / max(1, stage.schedule_steps - warmup)
        return stage.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))

    def without_stages(self) -> str:
        """What must not change when a run is resumed; its stages may only be added to."""
        return repr(asdict(self) | {"stages": (), "save_every": 0})


@dataclass(frozen=True, slots=True)
class Progress:
    """What a progress line shows after a step."""

    step: int
    steps: int
    loss: float
    iou_per_round: tuple[float, ...]
    seconds_per_step: float


class Pretrainer:
    """Owns model, average, optimisers and step; `run` goes on from wherever they stand."""

    def __init__(
        self, sam: Sam, config: PretrainConfig, bank: SliceBank, folder: Path, fabric: Fabric
    ) -> None:
        self.fabric = fabric
        self.sam = sam.to(fabric.device).train()
        self.average = copy.deepcopy(sam).requires_grad_(False)
        self.config = config
        self.bank = bank
        self.folder = folder
        self.step = 0
        self.detail = DetailHead(sam).to(fabric.device)
        self.optimisers = build_optimisers(self.sam, self.detail, config.weight_decay)

    def run(self, report: Callable[[Progress], None]) -> Sam:
        """Train to the last step, saving on the way.

        Returns:
            The running average of the weights, which is what ships.
        """
        first = self.fabric.is_global_zero
        curves = SummaryWriter(str(self.folder / "tensorboard")) if first else None
        while self.step < self.config.steps:
            began = time.perf_counter()
            loss, ious = self._one_step()
            self.step += 1
            seconds = time.perf_counter() - began
            if curves is None:
                continue
            curves.add_scalar("loss", loss, self.step)
            for index, iou in enumerate(ious):
                curves.add_scalar(f"iou/round_{index + 1}", iou, self.step)
            report(Progress(self.step, self.config.steps, loss, ious, seconds))
            if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                self.save()
        if curves is not None:
            curves.close()
        return self.average

    def _one_step(self) -> tuple[float, tuple[float, ...]]:
        """One update; randomness depends on seed, step and process alone: a resumed run repeats."""
        stage, _ = self.config.stage_at(self.step)
        seed = (self.config.seed, self.step)
        rounds = int(np.random.default_rng(seed).integers(1, 2 * stage.rounds))
        rng = np.random.default_rng((*seed, self.fabric.global_rank))
        torch.manual_seed(int(rng.integers(2**31)))
        pictures = self._share(stage.batch_size)
        batch = draw_batch(self.bank, pictures, (self.config.objects, stage), rng)
        prompts = first_prompts(batch.masks.numpy(), stage.box_probability, rng)
        for group in (group for one in self.optimisers for group in one.param_groups):
            group["lr"] = self.config.learning_rate_at(self.step)
        device = self.fabric.device
        narrow = choose_dtype("auto", device) == torch.bfloat16
        with torch.autocast(device.type, torch.bfloat16, enabled=narrow):
            pixels = batch.pixels.to(device)
            embeddings = encode_image(self.sam.image_encoder, pixels)
            loss, ious = conversation_loss(
                self.sam,
                embeddings[batch.picture.to(device)],
                batch.masks.to(device),
                PromptTokens(prompts.xy.to(device), prompts.kind.to(device)),
                Conversation(rounds, stage.draws_prompts),
            )
        self._update(loss + DETAIL_WEIGHT * self.detail.loss(embeddings, pixels))
        return float(loss.detach()), tuple(ious.tolist())

    def _share(self, pictures: int) -> int:
        """Pictures of a step for each process."""
        share, left = divmod(pictures, self.fabric.world_size)
        if left or not share:
            raise ConfigError(
                f"A batch of {pictures} pictures cannot be shared by {self.fabric.world_size} "
                "processes; choose a multiple."
            )
        return share

    def _update(self, loss: Tensor) -> None:
        if not torch.isfinite(loss.detach()):
            raise ConfigError(
                f"The loss is {float(loss.detach())} at step {self.step}; lower the rate."
            )
        learning = [*self.sam.parameters(), *self.detail.parameters()]
        for parameter in learning:
            parameter.grad = None
        loss.backward()
        mean_gradients(self.fabric, learning)
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        decay = min(self.config.average_decay, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.sam.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)

    def _identity(self) -> str:
        return f"{self.config.without_stages()} in {self.fabric.world_size} processes"

    def save(self) -> None:
        """Write a checkpoint that `resume` continues from, bit for bit."""
        state = {
            "sam": self.sam.state_dict(),
            "average": self.average.state_dict(),
            "detail": self.detail.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "step": self.step,
            "config": self._identity(),
            "stages": [astuple(stage) for stage in self.config.stages],
            "bank_sha256": self.bank.sha256(),
        }
        with atomic_path(self.folder / "checkpoint.pt") as temporary:
            torch.save(state, temporary)

    def resume(self) -> bool:
        """Go on from this folder's checkpoint, if it has one made by the same configuration."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, map_location="cpu", weights_only=True)
        kept = [astuple(stage) for stage in self.config.stages][: len(state["stages"])]
        if state["config"] != self._identity() or state["stages"] != kept:
            raise ConfigError(
                f"{path} was made with another configuration; repeat the first run's options "
                "(stages may be added at the end), or give another folder."
            )
        self.sam.load_state_dict(state["sam"])
        self.average.load_state_dict(state["average"])
        self.detail.load_state_dict(state["detail"])
        for optimiser, kept_state in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept_state)
        self.step = state["step"]
        return True


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures and objects of one step.

    Attributes:
        pixels: normalised frames.
        masks: objects on their frames.
        picture: which frame each object is on.
    """

    pixels: Float[Tensor, "b 3 side side"]
    masks: Bool[Tensor, "n side side"]
    picture: Int64[Tensor, " n"]


def draw_batch(
    bank: SliceBank, pictures: int, wanted: tuple[int, Stage], rng: np.random.Generator
) -> Batch:
    """Draw pictures until enough of them hold an object, and objects on each.

    Args:
        bank: where pictures come from.
        pictures: how many.
        wanted: how many objects on each, and the stage, which knows their kinds and the side.
        rng: source of randomness.
    """
    count, stage = wanted
    frames: list[Tensor] = []
    masks: list[np.ndarray] = []
    picture: list[int] = []
    while len(frames) < pictures:
        rule = PictureRule(stage.side_px, stage.blob_probability, stage.freedom)
        drawn = training_picture(bank, int(rng.integers(len(bank))), rule, rng)
        objects = draw_objects(drawn, (count, stage.layer_weights), rng)
        if objects:
            picture += [len(frames)] * len(objects)
            masks += objects
            frames.append(_normalised(drawn))
    return Batch(torch.stack(frames), torch.from_numpy(np.stack(masks)), torch.tensor(picture))


def _normalised(drawn: TrainingPicture) -> Float[Tensor, "3 side side"]:
    """As `SamFrame.image`: three channels, SAM's mean and spread, padding zero afterwards."""
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (SAM_MEAN, SAM_STD))
    pixels = (torch.from_numpy(drawn.unit)[None] * 255 - mean) / std
    rows, cols = drawn.content_px
    pixels[:, rows:] = 0
    pixels[:, :, cols:] = 0
    return pixels


def draw_objects(
    drawn: TrainingPicture, wanted: tuple[int, Sequence[float]], rng: np.random.Generator
) -> list[np.ndarray]:
    """Masks of objects on a picture; none if it has no object of a useful size.

    Args:
        drawn: the picture.
        wanted: how many, and the weight of each layer of the picture.
        rng: source of randomness.
    """
    count, weights = wanted
    found = [_useful_objects(layer) for layer in drawn.layers]
    usable = np.array([w if values else 0.0 for w, values in zip(weights, found, strict=True)])
    if not usable.any():
        return []
    masks = []
    for layer in rng.choice(len(found), count, p=usable / usable.sum()):
        masks.append(drawn.layers[layer] == rng.choice(found[layer]))
    return masks


def _useful_objects(layer: UInt8[np.ndarray, "side side"]) -> list[int]:
    """Numbers of the objects that are large enough to be asked for."""
    area = np.bincount(layer.ravel())
    return [value for value in range(1, len(area)) if area[value] >= SMALLEST_OBJECT_PX]
