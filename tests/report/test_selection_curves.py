"""Areas, counts and differences known by hand; the files that are written."""

import csv
import json

import pytest
from cobot.report.selection_curves import (
    Played,
    area,
    cases_until,
    difference,
    table,
    worth,
    write_selection,
)
from cobot.selection.rounds import Round


def rounds(strategy, seed, dice, prompts):
    return [
        Round(strategy, seed, tuple("abcdefg"[: 1 + 2 * rank]), spent, {"v": height, "w": height})
        for rank, (height, spent) in enumerate(zip(dice, prompts, strict=True))
    ]


@pytest.fixture
def played():
    found = []
    for seed in (0, 1):
        found += rounds("random", seed, [0.5, 0.6, 0.7], [10, 30, 50])
        found += rounds("hybrid", seed, [0.5, 0.7 + seed / 100, 0.8], [10, 20, 40])
    return Played(tuple(found), 0.4, {0: 0.8, 1: 0.8}, {"data": "known"})


def test_an_area_is_the_mean_height():
    assert area([1.0, 3.0, 5.0], [0.5, 0.6, 0.7], 1.0, 5.0) == pytest.approx(0.6)
    assert area([10.0, 20.0, 40.0], [0.5, 0.7, 0.8], 10.0, 30.0) == pytest.approx((0.6 + 0.725) / 2)


def test_a_strategy_in_numbers(played):
    one = worth(played, "hybrid")
    # (0.5 + 0.7) / 2 and (0.7 + 0.8) / 2, equally long
    assert one.by_cases == pytest.approx((0.675, 0.68))
    assert one.prompts == (40, 40)
    assert one.cases_to_good == (5, 5)  # 0.76
    assert one.cases_to_gain == (5, 5)  # 0.4 + 0.95 * 0.4 = 0.78
    # Both curves cover 10 to 40 prompts: 10 * 0.6 + 20 * 0.75, over 30
    assert one.by_prompts[0] == pytest.approx(0.7)
    assert worth(played, "random").cases_to_good == (None, None)
    assert cases_until(played.of("random", 0), 0.6) == 3


def test_differences_are_paired_and_small_ones_are_noise():
    sure = difference([0.6, 0.7, 0.8], [0.5, 0.6, 0.71])
    assert (sure.better, sure.seeds, sure.is_noise) == (3, 3, False)
    noise = difference([0.6, 0.5, 0.8], [0.5, 0.6, 0.71])
    assert noise.mean == pytest.approx(0.03)
    assert noise.is_noise


def test_one_seed_proves_nothing(played, tmp_path):
    single = difference([0.6], [0.5])
    assert single.mean == pytest.approx(0.1)
    assert (single.low, single.high, single.is_noise) == (None, None, True)
    single_seed = (*played.of("random", 0), *played.of("hybrid", 0))
    one = Played(single_seed, played.base, {0: 0.8}, {})
    assert "| +0.0750 [-] | 1 of 1 |" in write_selection(one, tmp_path)
    text = (tmp_path / "summary.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert json.loads(text)["strategies"]["hybrid"]["minus_random"]["low"] is None


def test_files_are_written_in_utf_8_whatever_the_system_prefers(played, tmp_path, text_encodings):
    write_selection(played, tmp_path)
    assert set(text_encodings) == {"utf-8"}


def test_the_table_and_the_files(played, tmp_path):
    text = write_selection(played, tmp_path / "out")
    assert text == table(played)
    assert "| hybrid | 0.6775 ± 0.0035 | +0.0775 [" in text
    assert "2 of 2" in text
    assert "-, 2 not reached" in text
    with (tmp_path / "out" / "rounds.csv").open() as stream:
        found = list(csv.DictReader(stream))
    assert len(found) == 12
    assert found[3] == {
        "strategy": "hybrid", "seed": "0", "labelled": "1", "prompts": "10", "dice": "0.50000",
        "v": "0.50000", "w": "0.50000", "chosen": "a",
    }  # fmt: skip
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["strategies"]["hybrid"]["minus_random"]["mean"] == pytest.approx(0.0775)
    assert (tmp_path / "out" / "curves.png").stat().st_size > 5000


def test_seeds_that_one_strategy_lacks_are_left_out(played):
    partly = Played(played.rounds[:-3], played.base, played.full, {})
    assert partly.seeds == [0]
    assert "over 2 seeds" in table(partly)
