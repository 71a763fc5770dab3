"""Leases on a clock that the test moves: both sides of every end."""

import re

import pytest
from cobot.server.leases import Leases

CASES = ["a", "b", "c"]


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "data" / "leases.json"


@pytest.fixture
def leases(file, clock):
    return Leases(file, lambda: clock[0])


def test_a_case_is_one_annotators_until_its_time_is_over(leases, clock):
    assert leases.take("a", "ann", 60.0).ends_s == 1060
    clock[0] = 1059.999
    assert leases.free(CASES) == ["b", "c"]
    assert leases.held_by("ann", CASES) == ["a"]
    assert leases.held_by("bob", CASES) == []
    clock[0] = 1060.0
    assert leases.free(CASES) == CASES
    assert leases.held_by("ann", CASES) == []


def test_submission_ends_it_at_once(leases):
    leases.take("a", "ann", 60.0)
    leases.take("b", "bob", 60.0)
    leases.release("a")
    leases.release("a")
    leases.release("never given")
    assert leases.free(CASES) == ["a", "c"]


def test_taking_again_extends_and_another_holder_replaces(leases, clock):
    leases.take("a", "ann", 60.0)
    clock[0] = 1030.0
    leases.take("a", "ann", 60.0)
    clock[0] = 1080.0
    assert leases.held_by("ann", CASES) == ["a"]
    leases.take("a", "bob", 60.0)
    assert (leases.held_by("ann", CASES), leases.held_by("bob", CASES)) == ([], ["a"])


def test_several_cases_of_one_annotator_the_last_taken_first(leases, clock):
    for case in ("b", "a"):
        leases.take(case, "ann", 60.0)
        clock[0] += 1
    assert leases.held_by("ann", CASES) == ["a", "b"]
    assert leases.first_end_s(CASES) == 1060
    assert leases.first_end_s(["c"]) is None


def test_they_survive_a_restart_without_naming_anyone(leases, file, clock):
    leases.take("Doe_Jane", "ann", 60.0)
    again = Leases(file, lambda: clock[0])
    assert again.held_by("ann", ["Doe_Jane"]) == ["Doe_Jane"]
    assert "Doe" not in file.read_text()
    assert "ann" not in file.read_text()
    leases.release("Doe_Jane")
    assert Leases(file, lambda: clock[0]).free(["Doe_Jane"]) == ["Doe_Jane"]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"x": {"holder": "y"}}'])
def test_a_damaged_file_is_taken_for_none(file, clock, content):
    file.parent.mkdir()
    file.write_text(content)
    leases = Leases(file, lambda: clock[0])
    assert leases.free(CASES) == CASES
    leases.take("a", "ann", 60.0)
    assert Leases(file, lambda: clock[0]).free(CASES) == ["b", "c"]


def test_a_disk_that_refuses_loses_no_lease_of_this_server(tmp_path, clock):
    (tmp_path / "data").write_text("a file in the folder's place")
    leases = Leases(tmp_path / "data" / "leases.json", lambda: clock[0])
    leases.take("a", "ann", 60.0)
    assert leases.free(CASES) == ["b", "c"]
    in_memory = Leases(None, lambda: clock[0])
    in_memory.take("a", "ann", 60.0)
    assert in_memory.free(CASES) == ["b", "c"]


def test_work_on_a_case_renews_its_holders_lease_alone(leases, file, clock):
    leases.take("a", "ann", 3600.0)
    clock[0] += 3000
    leases.renew("a", "bob")
    assert leases.first_end_s(CASES) == 4600
    leases.renew("a", "ann")
    assert leases.first_end_s(CASES) == clock[0] + 3600
    assert Leases(file, lambda: clock[0]).first_end_s(CASES) == clock[0] + 3600
    clock[0] += 3599
    assert leases.held_by("ann", CASES) == ["a"]
    clock[0] += 1
    leases.renew("a", "ann")
    leases.renew("never given", "ann")
    assert leases.free(CASES) == CASES


def test_clicks_within_a_minute_write_once(leases, file, clock):
    leases.take("a", "ann", 3600.0)
    written = file.read_bytes()
    clock[0] += 59
    leases.renew("a", "ann")
    assert file.read_bytes() == written
    clock[0] += 1
    leases.renew("a", "ann")
    assert file.read_bytes() != written


def test_a_lease_of_a_minute_can_be_renewed_and_one_of_unknown_length_cannot(file, clock):
    short = Leases(None, lambda: clock[0])
    short.take("a", "ann", 60.0)
    clock[0] += 40
    short.renew("a", "ann")
    assert short.first_end_s(CASES) == clock[0] + 60
    long = Leases(file, lambda: clock[0])
    long.take("a", "ann", 60.0)
    file.write_text(re.sub(', "seconds": 60.0', "", file.read_text()))
    again = Leases(file, lambda: clock[0])
    clock[0] += 40
    again.renew("a", "ann")
    assert again.first_end_s(CASES) == clock[0] + 20
