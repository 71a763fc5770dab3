"""The arithmetic of the benchmark's rounds; the clock is faked."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture
def bench(monkeypatch):
    path = Path(__file__).resolve().parents[1] / "scripts" / "bench_rounds.py"
    spec = importlib.util.spec_from_file_location("bench_rounds", path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    monkeypatch.setitem(sys.modules, "bench_rounds", module)
    spec.loader.exec_module(module)
    return module


def faked(bench, monkeypatch, seconds, calibrations):
    """Seconds of stock, ours, stock, ours, ...; of the product before, after, before, ..."""
    clock, product = iter(seconds), iter(calibrations)
    monkeypatch.setattr(bench, "_seconds", lambda work, device: next(clock))
    monkeypatch.setattr(bench, "_matmul_s", lambda dtype, device: next(product))


def test_ratios_are_of_one_round_and_disturbed_rounds_are_left_out(bench, monkeypatch):
    seconds = [4.0, 2.0, 9.0, 3.0, 100.0, 1.0]
    faked(bench, monkeypatch, seconds, [1.0, 1.0, 1.0, 1.4, 1.0, 1.6])
    row = bench.compare("x", (lambda: torch.ones(4), lambda: torch.ones(4) * 1.1), rounds=3)
    assert (row.rounds, row.disturbed) == (2, 1)
    assert (row.stock_s, row.ours_s, row.ratio) == (6.5, 2.5, 2.5)
    assert row.ratio_p25 <= row.ratio <= row.ratio_p75
    assert row.rel_err == pytest.approx(0.1, rel=1e-5)
    assert row.cosine == pytest.approx(1.0)


def test_where_all_were_disturbed_all_count_and_it_is_said(bench, monkeypatch):
    faked(bench, monkeypatch, [4.0, 2.0, 9.0, 3.0], [1.0, 2.0, 1.0, 2.0])
    row = bench.compare("x", (lambda: torch.ones(1), lambda: torch.ones(1)), rounds=2)
    assert (row.rounds, row.disturbed) == (2, 2)


def test_a_wrong_result_is_not_timed(bench, monkeypatch):
    faked(bench, monkeypatch, [4.0, 2.0, 6.0, 2.0], [1.0] * 4)
    runs = []

    def wrong():
        runs.append("wrong")
        return torch.ones(4) * 1.1

    right, late = bench.compare_forms(
        lambda: torch.ones(4),
        {"right": lambda: torch.ones(4), "late": wrong},
        rounds=2,
        wrong=lambda item, rel_err, cosine: rel_err > 0.01,
    )
    assert (right.ratio, right.rel_err, runs) == (2.5, 0.0, ["wrong"])
    assert (late.rounds, late.rel_err) == (0, pytest.approx(0.1, rel=1e-5))
    assert math.isnan(late.ratio)
    assert math.isnan(late.ours_s)
    (alone,) = bench.compare_forms(
        lambda: torch.ones(4), {"late": wrong}, rounds=2, wrong=lambda *_: True
    )
    assert math.isnan(alone.stock_s)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_peak_is_what_a_run_takes(bench):
    assert bench.peak_mb(lambda: torch.ones(50 * 2**18), "cpu") == pytest.approx(50, abs=5)
