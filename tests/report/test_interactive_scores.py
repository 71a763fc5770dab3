"""Tables of the annotator's effort."""

import csv
import json

from cobot.report.interactive_scores import (
    MeasuredEffort,
    effort_table,
    summarise_efforts,
    write_efforts,
)
from cobot.training.evaluate_interactive import Effort, EffortStep


def effort(case: str, *dice: float) -> MeasuredEffort:
    steps = tuple(EffortStep(value, 0.5 * n) for n, value in enumerate(dice, start=1))
    return MeasuredEffort("tiny", Effort(case, "liver", "3d", steps))


MEASURED = [effort("a", 0.82, 0.95), effort("b", 0.4, 0.6, 0.86, 0.7)]


def test_the_cap_counts_where_a_target_was_not_met():
    row = summarise_efforts(MEASURED, cap=4)[("tiny", "3d")]
    assert [one.mean_prompts for one in row.targets.values()] == [2.0, 2.5, 3.0]
    assert [one.reached for one in row.targets.values()] == [2, 2, 1]
    assert row.targets[0.90].mean_waited_s == 1.0
    # The first volume keeps its 0.95 after its annotator has stopped.
    assert [round(value, 3) for value in row.curve] == [0.61, 0.775, 0.905, 0.825]


def test_files_and_table(tmp_path):
    write_efforts(MEASURED, {"data": "phantoms"}, 4, tmp_path)
    with (tmp_path / "per_volume.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["target"] == "0.90"]
    assert [row["prompts"] for row in rows] == ["2", ""]
    with (tmp_path / "curves.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 6
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["ways"][0]["targets"]["0.85"]["mean_prompts"] == 2.5
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    table = effort_table(summarise_efforts(MEASURED, 4))
    cells = "2.0 (2/2) | 1.0 | 2.5 (2/2) | 1.2 | 3.0 (1/2) | 1.0"
    assert f"| tiny | 3D, carried on | {cells} |" in table
