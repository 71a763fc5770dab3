"""Two ways to do one thing, timed in turn in one process: stock, ours, stock, ours, ...

Seconds on a shared machine mean little; the ratio within one round does. A matrix product timed
around every round tells whether the machine was disturbed: such rounds are left out.
"""

import ctypes
import gc
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

DISTURBED = 1.5
"""A round is left out when the matrix product before and after it differ by more than this."""

WARM_UPS = {"cpu": 1, "cuda": 10}

PRODUCT = {"cpu": (4096, 768, 3072), "cuda": (8192, 8192, 8192)}
"""The matrix product that tells how fast the machine is: large enough to fill it."""

Work = Callable[[], Tensor]

Wrong = Callable[[str, float, float], bool]
"""Whether a form's result is too far from stock's: its name, relative error and cosine."""


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one round, and whether the machine was left alone in it."""

    stock_s: float
    ours_s: float
    calm: bool


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
        timed: every round, also those that were left out.
        stock_peak_mb: what one stock run took beyond what the process held; None if unknown.
        peak_mb: the same of ours.
        rel_err: norm of the difference of the results by the norm of stock's.
        cosine: of the results.
        limit_s: least seconds for the stock form's products at this machine's best rate.

    Seconds and ratios of a form whose result was wrong are NaN: it was not timed.
    """

    item: str
    stock_s: float
    ours_s: float
    ratio: float
    ratio_p25: float
    ratio_p75: float
    timed: tuple[Round, ...]
    stock_peak_mb: float | None = None
    peak_mb: float | None = None
    rel_err: float = 0.0
    cosine: float = 1.0
    limit_s: float | None = None

    @property
    def disturbed(self) -> int:
        """Rounds that were left out; kept after all when there was no other."""
        return sum(not one.calm for one in self.timed)

    @property
    def rounds(self) -> int:
        """Rounds that counted."""
        return len(self.timed) - self.disturbed or len(self.timed)


def never(item: str, rel_err: float, cosine: float) -> bool:
    """Every form is timed, however far its result is from stock's."""
    del item, rel_err, cosine
    return False


def compare(
    item: str, works: tuple[Work, Work], rounds: int, device: str = "cpu", wrong: Wrong = never
) -> Row:
    """Run stock and ours in turn and lay them side by side; see `compare_forms`."""
    stock, ours = works
    (row,) = compare_forms(stock, {item: ours}, rounds, device, wrong)
    return row


def compare_forms(
    stock: Work, forms: Mapping[str, Work], rounds: int, device: str = "cpu", wrong: Wrong = never
) -> list[Row]:
    """Run stock, then every form of ours, round after round; a row for each form.

    The first runs of each are not timed. Their results are held against each other before anything
    is, and a form that gave a wrong one is left out.

    Args:
        stock: the reference; gives its result.
        forms: name of the comparison to what gives the same in another way.
        rounds: at least 1.
        device: "cpu" or "cuda".
        wrong: says so of a form that is not worth timing.
    """
    expected, found = _warmed(stock, device), dict[str, tuple[float, float]]()
    for item, ours in forms.items():
        given = _warmed(ours, device)
        rel_err = ((given - expected).norm() / expected.norm()).item()
        cosine = torch.nn.functional.cosine_similarity(given, expected, dim=0).item()
        found[item] = rel_err, cosine
    right = {item: ours for item, ours in forms.items() if not wrong(item, *found[item])}
    timed = [_round(stock, right, device) for _ in range(rounds if right else 0)]
    stock_peak_mb = peak_mb(stock, device) if right else None
    rows = []
    for item, (rel_err, cosine) in found.items():
        row = Row(item, *[math.nan] * 5, timed=())
        if item in right:
            row = replace(
                _row(item, [one[item] for one in timed]),
                stock_peak_mb=stock_peak_mb,
                peak_mb=peak_mb(right[item], device),
            )
        rows.append(replace(row, rel_err=rel_err, cosine=cosine))
    return rows


def alone(item: str, seconds: Sequence[float]) -> Row:
    """A row without stock beside it."""
    return Row(
        item=item,
        stock_s=0.0,
        ours_s=statistics.median(seconds),
        ratio=math.nan,
        ratio_p25=math.nan,
        ratio_p75=math.nan,
        timed=tuple(Round(math.nan, one, calm=True) for one in seconds),
    )


def matmul_flops_per_s(dtype: torch.dtype, device: str = "cpu", runs: int = 7) -> float:
    """The best rate at which this machine multiplied the matrices of `PRODUCT`."""
    return 2 * math.prod(PRODUCT[device]) / min(_matmul_s(dtype, device) for _ in range(runs))


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


def _row(item: str, timed: Sequence[Round]) -> Row:
    """Medians over the rounds that count."""
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
        timed=tuple(timed),
    )


def _warmed(work: Work, device: str) -> Tensor:
    """The result, after the runs in which libraries choose kernels and take memory."""
    for _ in range(WARM_UPS[device] - 1):
        work()
    return work().float().flatten()


def _round(stock: Work, forms: Mapping[str, Work], device: str) -> dict[str, Round]:
    """Stock once, every form once; the matrix product before it all and after each form."""
    products = [_matmul_s(torch.float32, device)]
    stock_s, found = _seconds(stock, device), {}
    for item, ours in forms.items():
        ours_s = _seconds(ours, device)
        products.append(_matmul_s(torch.float32, device))
        found[item] = Round(stock_s, ours_s, max(products) <= DISTURBED * min(products))
    return found


def _matmul_s(dtype: torch.dtype, device: str) -> float:
    rows, inner, cols = PRODUCT[device]
    left = torch.ones(rows, inner, dtype=dtype, device=device)
    right = torch.ones(inner, cols, dtype=dtype, device=device)
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
