"""Figures and tests of a comparison of methods, with numbers known by hand."""

import json

import pytest
from cobot.adapters.config import AdapterConfig
from cobot.errors import ConfigError
from cobot.report.method_scores import FinishedCell, chosen, compare, read_cells, score
from cobot.report.method_tables import TABLES, rows, write_tables

SETTING = {"base": "tiny"}
MEASURES = ("box", "box_jitter", "propagated", "ellipse", "ellipse_jitter")


def cell(config: AdapterConfig, seed: int, dice: dict[str, float], dataset: str = "d"):
    """A cell whose every measure of a case is one number, in two structures around it."""
    return FinishedCell(
        dataset=dataset,
        method=config.name,
        width=config.width,
        seed=seed,
        dice={
            case: {
                name: dict.fromkeys(MEASURES, value + off)
                for name, off in (("a", 0.05), ("b", -0.05))
            }
            for case, value in dice.items()
        },
        parameters=10,
        seconds_per_step=2.0,
        cpu_seconds_per_step=1.5,
        peak_mib=100.0,
        setting=SETTING,
    )


LORA, COBOT = AdapterConfig.named("lora"), AdapterConfig.named("lora+cobot")


def test_a_score_is_over_cases_and_seeds():
    found = score([cell(LORA, 0, {"x": 0.4, "y": 0.8}), cell(LORA, 1, {"x": 0.6, "y": 0.8})], "box")
    assert found.mean == pytest.approx(0.65)
    assert found.sd_cases == pytest.approx(0.3 / 2**0.5), "of 0.5 and 0.8"
    assert found.sd_seeds == pytest.approx(0.1 / 2**0.5), "of 0.6 and 0.7"
    assert (found.seeds, found.cases) == (2, 2)
    assert score([cell(LORA, 0, {"x": 0.4})], "box").sd_cases == 0.0


def test_the_test_is_paired_over_cases():
    cases = {f"c{number}": 0.1 * number for number in range(1, 7)}
    plain = [cell(LORA, seed, cases) for seed in (0, 1)]
    better = {case: value + 0.01 * number for number, (case, value) in enumerate(cases.items(), 1)}
    ours = [cell(COBOT, 0, better), cell(COBOT, 1, cases), cell(COBOT, 2, better)]
    found = compare(ours, plain, "box")
    assert found.difference == pytest.approx(0.0175), "half of the mean of 0.01 to 0.06"
    assert 0.005 <= found.low < found.difference < found.high <= 0.03
    assert found.p == pytest.approx(2 / 2**6), "six differences of one sign"
    assert found.smallest_p == found.p
    assert (found.cases, found.seeds, found.won_seeds) == (6, 2, 1), "the third seed has no pair"
    equal = compare(plain, plain, "box")
    assert (equal.difference, equal.p, equal.won_seeds) == (0.0, 1.0, 0)


def test_data_sets_are_pooled_case_by_case():
    ours = [cell(COBOT, 0, {"x": 0.6}, "d"), cell(COBOT, 0, {"x": 0.2, "y": 0.3}, "e")]
    plain = [cell(LORA, 0, {"x": 0.5}, "d"), cell(LORA, 0, {"x": 0.3, "y": 0.3}, "e")]
    found = compare(ours, plain, "box")
    assert (found.cases, found.difference) == (3, pytest.approx(0.0))
    assert [one.dataset for one in chosen(ours, COBOT.name, "e")] == ["e"]


def test_tables_share_cells_and_say_what_is_missing(tmp_path):
    assert TABLES["table4"]["adaptformer+cobot"] == TABLES["table2"]["learned relation"]
    assert len({str(one) for one in TABLES["table1"].values()}) == 6
    assert TABLES["table2"]["fixed relation"].relation == "fixed"
    assert TABLES["table3"]["linear head"].head == "linear"
    assert [one.width for one in TABLES["fig5"].values()] == [4, 8, 16, 32, 64] * 2
    cells = [
        cell(AdapterConfig.named(name), seed, {"x": 0.5, "y": 0.6 + 0.01 * seed}, dataset)
        for name in ("freeze", "lora", "lora+cobot")
        for seed in ((0,) if name == "freeze" else (0, 1))
        for dataset in ("d", "e")
    ]
    assert [row.name for row in rows(cells, "table4")] == ["freeze", "lora", "lora+cobot"]
    text = write_tables(cells, "# Note", tmp_path).read_text()
    assert "| lora | 10 | 0.5525 ± 0.0742 (0.0035, n = 2) |" in text
    assert "| freeze | 10 | 0.5500 ± 0.0707 (0.0000, n = 1) |" in text
    assert "| all | box | lora+cobot | lora | +0.0000 (+0.0000 to +0.0000) | 1.000" in text
    assert "Table 2" not in text, "one row is no table"
    lines = (tmp_path / "methods.csv").read_text().splitlines()
    assert len(lines) == 1 + len(cells) * 2 * 2 * len(MEASURES)
    assert lines[1] == "d,freeze,0,0,x,a,box,0.550000"
    assert {path.name for path in tmp_path.glob("*.png")} == {"methods.png", "fig5.png"}


def test_cells_of_another_setting_stay_out_and_damaged_ones_are_named(tmp_path):
    write_cell(tmp_path / "one.json")
    assert [one.method for one in read_cells(tmp_path, identity())] == ["lora"]
    assert read_cells(tmp_path, identity() | {"setting": {"base": "vit_b"}}) == []
    (tmp_path / "two.json").write_text("{")
    with pytest.raises(ConfigError, match=r"two.json is damaged .* remove it"):
        read_cells(tmp_path, identity())


def test_one_name_stands_for_one_task_and_the_same_data(tmp_path):
    """A table's row of two kinds of data would be a mean of neither."""
    now = identity(data="new")
    write_cell(tmp_path / "old.json", data="old")
    write_cell(tmp_path / "new.json", data="new")
    write_cell(tmp_path / "task.json", data="new", axis="i")
    write_cell(tmp_path / "other.json", name="e", data="old")
    assert len(read_cells(tmp_path, now)) == 2, "its own, and another data set's"
    write_cell(tmp_path / "other2.json", name="e", data="newer")
    with pytest.raises(ConfigError, match="are all called 'e', such as other2.json"):
        read_cells(tmp_path, now)


def identity(name="d", data="sum", **task):
    return {
        "setting": SETTING, "task": {"name": name, **task}, "data_sha256": data,
        "adapter": {"width": 4}, "seed": 0,
    }  # fmt: skip


def write_cell(path, **options):
    content = {
        "identity": identity(**options), "method": "lora", "dice": {}, "parameters": 1,
        "seconds_per_step": None, "cpu_seconds_per_step": None, "peak_mib": None,
    }  # fmt: skip
    path.write_text(json.dumps(content))
