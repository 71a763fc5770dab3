"""Two ways to do one thing, timed in turn in one process: stock, ours, stock, ours, ...

Seconds on a shared machine mean little; the ratio within one round does. A matrix product timed
around every round tells whether the machine was disturbed: such rounds are left out.
"""

import ctypes
import gc
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

DISTURBED = 1.5
"""A round is left out when the matrix product before and after it differ by more than this."""

Work = Callable[[], Tensor]


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one comparison.

    Attributes:
        item: what was computed.
        stock_s: median seconds of the stock form.
        ours_s: median seconds of ours.
        ratio: median over rounds of stock's seconds by ours.
        ratio_p25: its lower quartile.
        ratio_p75: its upper quartile.
        rounds: that counted.
        disturbed: rounds that were left out; kept after all when there was no other.
        stock_peak_mb: what one stock run took beyond what the process held; None if unknown.
        peak_mb: the same of ours.
        rel_err: norm of the difference of the results by the norm of stock's.
        cosine: of the results.
        limit_s: least seconds for the stock form's products at this machine's best rate.
    """

    item: str
    stock_s: float
    ours_s: float
    ratio: float
    ratio_p25: float
    ratio_p75: float
    rounds: int
    disturbed: int
    stock_peak_mb: float | None
    peak_mb: float | None
    rel_err: float
    cosine: float
    limit_s: float | None = None


def compare(item: str, stock: Work, ours: Work, rounds: int, device: str = "cpu") -> Row:
    """Run both in turn and lay them side by side; the first run of each is not timed.

    Args:
        item: name of the comparison.
        stock: the reference; gives its result.
        ours: gives the same in another way.
        rounds: at least 2.
        device: "cpu" or "cuda".
    """
    expected, given = stock().float().flatten(), ours().float().flatten()
    timed = [_round(stock, ours, device) for _ in range(rounds)]
    calm = [one for one in timed if one.calm] or timed
    ratios = [one.stock_s / one.ours_s for one in calm]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return Row(
        item=item,
        stock_s=statistics.median(one.stock_s for one in calm),
        ours_s=statistics.median(one.ours_s for one in calm),
        ratio=middle,
        ratio_p25=low,
        ratio_p75=high,
        rounds=len(calm),
        disturbed=sum(not one.calm for one in timed),
        stock_peak_mb=peak_mb(stock, device),
        peak_mb=peak_mb(ours, device),
        rel_err=((given - expected).norm() / expected.norm()).item(),
        cosine=torch.nn.functional.cosine_similarity(given, expected, dim=0).item(),
    )


def matmul_flops_per_s(dtype: torch.dtype, device: str = "cpu", runs: int = 7) -> float:
    """The best rate at which this machine multiplied 4096 x 768 by 768 x 3072."""
    return 2 * 4096 * 768 * 3072 / min(_matmul_s(dtype, device) for _ in range(runs))


def peak_mb(work: Work, device: str) -> float | None:
    """The most memory that a run takes beyond what was held before; None where nobody counts it."""
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if not sys.platform.startswith("linux"):
        return None
    # What the process freed but did not give back would hide what the run takes.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before_mb = _status_mb("VmRSS")
    work()
    return _status_mb("VmHWM") - before_mb


@dataclass(frozen=True, slots=True)
class _Round:
    stock_s: float
    ours_s: float
    calm: bool


def _round(stock: Work, ours: Work, device: str) -> _Round:
    before = _matmul_s(torch.float32, device)
    stock_s = _seconds(stock, device)
    ours_s = _seconds(ours, device)
    after = _matmul_s(torch.float32, device)
    return _Round(stock_s, ours_s, max(before, after) <= DISTURBED * min(before, after))


def _matmul_s(dtype: torch.dtype, device: str) -> float:
    left = torch.ones(4096, 768, dtype=dtype, device=device)
    right = torch.ones(768, 3072, dtype=dtype, device=device)
    torch.mm(left, right)
    return min(_seconds(lambda: torch.mm(left, right), device) for _ in range(3))


def _seconds(work: Work, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(name + ":"))
    return int(line.split()[1]) / 1024
