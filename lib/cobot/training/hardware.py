"""Where training runs: CPU, one GPU, several, or several hosts; nothing else knows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from lightning_fabric import Fabric

from cobot.errors import ConfigError
from cobot.sam.encoder_plan import Precision, choose_dtype

PRECISIONS: Mapping[str, Literal["32-true", "bf16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
}
"""As users write them, to what Fabric calls them."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What to train on.

    Attributes:
        device: auto (CUDA where there is a device), cpu or cuda.
        devices: processes on this host, each with its own GPU (or share of the CPU).
        nodes: hosts; more than one is started with torchrun on each.
        precision: fp32, bf16 or auto: bf16 on CUDA, fp32 on the CPU.
        loaders: threads that prepare slices ahead; 0 prepares them in between.
        checkpointing: compute the encoder's blocks again in the backward pass: about a tenth of
            the memory for a third more time.
        micro_batch: slices at once; the rest of a batch is accumulated. 0 takes all at once.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Precision = "auto"
    loaders: int = 0
    checkpointing: bool = False
    micro_batch: int = 0

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"Unknown device {self.device!r}; expected auto, cpu or cuda.")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("--device cuda, but no CUDA device is here; use --device cpu.")
        if self.precision not in ("auto", *PRECISIONS):
            raise ConfigError(f"Unknown precision {self.precision!r}; expected auto, fp32 or bf16.")
        if min(self.devices, self.nodes) < 1 or min(self.loaders, self.micro_batch) < 0:
            raise ConfigError(
                f"{self.devices} devices on {self.nodes} hosts with {self.loaders} loaders and "
                f"micro-batches of {self.micro_batch}: expected 1 or more of the first two, "
                "and none below 0."
            )

    def start(self) -> Fabric:
        """Bring the processes up; returns in each of them."""
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        narrow = choose_dtype(self.precision, torch.device(device)) == torch.bfloat16
        many = self.devices * self.nodes > 1
        fabric = Fabric(
            accelerator=device,
            devices=self.devices,
            num_nodes=self.nodes,
            strategy="ddp" if many else "auto",
            precision=PRECISIONS["bf16" if narrow else "fp32"],
        )
        fabric.launch()
        return fabric
