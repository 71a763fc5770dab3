"""Blocks through torch.compile: some seconds once, then fewer passes over memory."""

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cobot.sam.encoder import apply_block
from cobot.sam.prepared import BlockFunction, PreparedEncoder


@dataclass(frozen=True, slots=True)
class CompiledEncoder:
    """An encoder with compiled blocks, and what that cost.

    Attributes:
        encoder: gives what it gave before, to rounding.
        seconds: by kind of block, for its first computation: compiling, or reading what torch
            keeps on disk from an earlier process (see TORCHINDUCTOR_CACHE_DIR).
    """

    encoder: PreparedEncoder
    seconds: dict[str, float]


@torch.inference_mode()
def compile_blocks(
    encoder: PreparedEncoder, batch: int = 1, backend: str = "inductor"
) -> CompiledEncoder:
    """Compile the kinds of block for which it can pay on this device, and run each once.

    On CUDA both kinds; on a CPU only blocks with windows, for in attention by chunks there is
    nothing to fuse. What it brought is in decision 4: on a CPU little. One compilation serves all
    blocks of a kind whose adapters are alike; other batch sizes are compiled when first met.

    Args:
        encoder: prepared.
        batch: pictures at once, for which it is compiled.
        backend: of torch.compile.
    """
    on_cpu = encoder.places.device.type == "cpu"
    compiled: BlockFunction = torch.compile(apply_block, dynamic=False, backend=backend)
    changed = replace(
        encoder,
        plan=replace(encoder.plan, windows="biased"),
        window_block=compiled,
        whole_block=encoder.whole_block if on_cpu else compiled,
    )
    tokens = encoder.places.expand(batch, -1, -1, -1).to(encoder.dtype)
    seconds = {"windows": _first_run(changed, tokens, windows=True)}
    if not on_cpu:
        seconds["whole"] = _first_run(changed, tokens, windows=False)
    return CompiledEncoder(changed, seconds)


def _first_run(encoder: PreparedEncoder, tokens: Tensor, windows: bool) -> float:
    """Seconds for the first blocks of a kind."""
    function = encoder.window_block if windows else encoder.whole_block
    start = time.perf_counter()
    for block, positions in zip(encoder.working.blocks, encoder.positions, strict=True):
        if bool(block.window_size) == windows:
            function(block, tokens, encoder.plan, positions)
    if tokens.is_cuda:
        torch.cuda.synchronize(tokens.device)
    return time.perf_counter() - start
