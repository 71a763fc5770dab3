"""What the benchmark of speed says; nothing is timed."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.fixture(scope="module")
def bench():
    """The script, with its neighbours on the path while they are imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        # Not what is tested here, and slow to import.
        patch.setitem(sys.modules, "bench_server_latency", type(sys)("bench_server_latency"))
        sys.modules["bench_server_latency"].warm_click_seconds = lambda clicks: [0.1] * clicks
        import bench_speed

        yield bench_speed
        for name in [name for name in sys.modules if name.startswith("bench_")]:
            patch.delitem(sys.modules, name)


@pytest.fixture
def row(bench):
    from bench_rounds import Round, Row

    timed = (*[Round(12.0, 4.0, True)] * 5, Round(20.0, 4.0, False))
    return Row(
        *("vit_b 1024 px, cpu, batch 1: bf16 / stock fp32", 12.0, 4.0, 3.0, 2.9, 3.1, timed),
        *(2500.0, 300.0, 8e-3, 0.9999, 2.3),
    )


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("measure", "bound", "at_most", "met"),
    [
        ("times stock", 3.0, False, True),
        ("times stock", 3.01, False, False),
        ("s", 4.0, True, True),
        ("ms", 3999.0, True, False),
        ("slices/s", 2.0, False, True),
        ("slices/s", 2.1, False, False),
        ("GB over weights", 0.32, True, True),
        ("GB over weights", 0.31, True, False),
        ("GiB a slice", 0.037, True, True),
        ("GiB a slice", 0.036, True, False),
    ],
)
def test_goals(bench, row, measure, bound, at_most, met):
    from bench_goals import Goal

    assert Goal(measure, bound, "bf16", at_most).met(row, batch=8) is met


def test_a_goal_concerns_its_form_alone(bench, row):
    from bench_goals import Goal

    assert Goal("s", 1, "bf16").concerns(row)
    assert Goal("s", 1).concerns(row)
    assert not Goal("s", 1, "fp32").concerns(row)


def test_the_whole_plan_or_one_encoder(bench):
    from bench_goals import PLAN

    assert bench.chosen_tasks("", 1024, "", "") == list(PLAN)
    assert {task.device for task in bench.chosen_tasks("", 1024, "", "cuda")} == {"cuda"}
    (planned,) = bench.chosen_tasks("vit_b", 512, "encoder", "cpu")
    assert planned.goals
    click, mask = bench.chosen_tasks("vit_l", 1024, "click,mask", "")
    assert (click.item, click.encoder, click.goals, mask.item) == ("click", "vit_l", (), "mask")
    with pytest.raises(typer.BadParameter, match=r"no such item: \['clicks'\]; expected .* click"):
        bench.chosen_tasks("", 1024, "clicks", "")


def test_rows_without_a_gpu_are_listed_with_their_goals(bench, no_gpu):
    from bench_goals import PLAN
    from bench_report import Report, to_markdown
    from bench_tasks import run_task

    tasks = [task for task in PLAN if task.device == "cuda"]
    lines = [line for task in tasks for line in run_task(task, 1)]
    assert [line.note for line in lines] == ["no GPU here"] * len(tasks)
    text = to_markdown(Report(tuple(lines), (), "somewhere"))
    assert "≥ 300 slices/s: not measured" in text


def test_a_decoder_at_another_side_is_refused(bench):
    from bench_goals import Task
    from bench_tasks import run_task

    (line,) = run_task(Task("click", "tiny", 512), 1)
    assert (line.row, "trained side" in line.note) == (None, True)


def test_gates_fail_on_errors_and_on_differing_masks(bench, row):
    from bench_report import Line

    wrong, right = (Line("a", replace(row, rel_err=e), most_error=1e-5) for e in (2e-5, 1e-6))
    assert [gate.passed for gate in bench.exactness([wrong, right])] == [False, True]
    askew, along = (Line("a", replace(row, cosine=c), gradients=True) for c in (0.998, 0.9991))
    assert [gate.passed for gate in bench.exactness([askew, along])] == [False, True]
    assert bench.exactness([Line("nothing to compare", row), Line("not measured")]) == []
    masks = [Line("a", row, differing=0), Line("b", row, differing=1)]
    assert [gate.passed for gate in bench.exactness(masks)] == [True, False]
    assert bench.bf16_gate(None).passed is None


def test_a_wrong_answer_is_told_before_the_clock_starts(bench, monkeypatch):
    import bench_rounds
    from bench_goals import Task
    from bench_report import Report, summary, to_markdown
    from bench_tasks import run_task
    from cobot.sam import reduced_decoder
    from cobot.sam.build import encoder_shape

    def clock(*_):
        pytest.fail("timed")

    exact = reduced_decoder.decode_chosen

    def askew(decoder, memory, asked):
        right = exact(decoder, memory, asked)
        return replace(right, logits=right.logits * 1.001)

    monkeypatch.setattr(bench_rounds, "_seconds", clock)
    monkeypatch.setattr("cobot.sam.answer.decode_chosen", askew)
    monkeypatch.setattr("bench_decoder.matmul_flops_per_s", lambda *_: 1e9)
    (line,) = run_task(Task("click", "tiny", encoder_shape("tiny").image_size_px), 1)
    assert line.row.rel_err == pytest.approx(1e-3, rel=0.01)
    assert [gate.passed for gate in bench.exactness([line])] == [False, True]
    assert "not timed: wrong" in to_markdown(Report((line,), (), "somewhere"))
    assert "click, tiny, cpu" in summary(line)


def test_the_table_says_what_was_reached(bench, row):
    from bench_goals import PLAN
    from bench_report import Report, to_markdown
    from bench_tasks import _line

    gate = {"name": "exact", "passed": False, "detail": "2e-3"}
    text = to_markdown(Report((_line(PLAN[0], row),), (gate,), "somewhere"))
    assert "12 s | 4 s | 3.00 (2.90 to 3.10), 5, 1 disturbed | 2500 / 300" in text
    assert "≥ 3 times stock: yes; ≤ 0.45 GB over weights: yes" in text
    assert "- NO: exact (2e-3)" in text


def test_what_is_written_is_json_and_marks_disturbed_rounds(bench, row, tmp_path):
    from bench_report import Line, Report
    from bench_rounds import alone

    lines = (Line("a", row), Line("b", alone("b", [1.0, 3.0, 2.0])), Line("c", note="no GPU here"))
    files = tmp_path / "speed.json", tmp_path / "speed.md"
    bench.write(Report(lines, (), "somewhere"), *files)
    read = json.loads(files[0].read_text(), parse_constant=lambda text: pytest.fail(text))
    first, second, third = (line["row"] for line in read["lines"])
    assert [one["calm"] for one in first["timed"]] == [True] * 5 + [False]
    assert (second["ours_s"], second["ratio"], third) == (2.0, None, None)
    assert "| c |" in files[1].read_text()


def test_a_server_row_has_both_percentiles(bench):
    from bench_goals import PLAN
    from bench_tasks import run_task

    (task,) = (one for one in PLAN if one.item == "server")
    middle, late = run_task(task, 1)
    assert middle.goals == ()
    assert late.goals == (("≤ 150 ms", True),)
