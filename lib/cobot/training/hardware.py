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

PREFIX_BYTES = 4 * 2**30
"""650 slices of vit_b at 1024 px, at 6.3 MB each."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What to train on.

    Attributes:
        device: auto (CUDA where there is a device), cpu or cuda.
        devices: processes on this host, each with its own GPU (or share of the CPU).
        nodes: hosts; more than one is started with torchrun on each.
        precision: fp32, bf16 or auto: bf16 on CUDA, fp32 on the CPU. In bf16 the frozen
            encoder's matrices are kept in it; what learns is always kept in fp32.
        loaders: threads that prepare slices ahead; 0 prepares them in between.
        checkpointing: compute the encoder's blocks again in the backward pass: about a tenth of
            the memory for a third more time.
        micro_batch: slices at once; the rest of a batch is accumulated. 0 takes all at once.
        prefix_bytes: memory for what the frozen blocks make of each slice, when adapters start at a
            later block; it changes no result.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Precision = "auto"
    loaders: int = 0
    checkpointing: bool = False
    micro_batch: int = 0
    prefix_bytes: int = PREFIX_BYTES

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"Unknown device {self.device!r}; expected auto, cpu or cuda.")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("--device cuda, but no CUDA device is here; use --device cpu.")
        if self.precision not in ("auto", *PRECISIONS):
            raise ConfigError(f"Unknown precision {self.precision!r}; expected auto, fp32 or bf16.")
        rest = (self.loaders, self.micro_batch, self.prefix_bytes)
        if min(self.devices, self.nodes) < 1 or min(rest) < 0:
            raise ConfigError(
                f"{self.devices} devices on {self.nodes} hosts with {self.loaders} loaders, "
                f"micro-batches of {self.micro_batch} and {self.prefix_bytes} bytes for kept "
                "tokens: expected 1 or more of the first two, and none below 0."
            )

    def start(self) -> Fabric:
        """Bring the processes up; returns in each of them."""
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        many = self.devices * self.nodes > 1
        fabric = Fabric(
            accelerator=device,
            devices=self.devices,
            num_nodes=self.nodes,
            strategy="ddp" if many else "auto",
            precision=PRECISIONS[self.precision_on(torch.device(device))],
        )
        fabric.launch()
        return fabric

    def precision_on(self, device: torch.device) -> Literal["fp32", "bf16"]:
        """What `precision` means there; a CPU trains in bf16 only when this says so."""
        if self.precision == "auto" and device.type == "cpu":
            return "fp32"
        return "bf16" if choose_dtype(self.precision, device) == torch.bfloat16 else "fp32"
