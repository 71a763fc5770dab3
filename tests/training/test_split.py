"""A case never changes sides; a side is never guessed."""

import json
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaiting

import pytest
from cobot.errors import ConfigError
from cobot.training.split import SplitCase, read_manifest, split_cases
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st


def cases(*numbers: int) -> list[SplitCase]:
    return [SplitCase(f"c{n}", f"{n * 7919 % 1000:064d}") for n in numbers]


@settings(max_examples=25)
@given(steps=st.lists(st.integers(0, 30), min_size=1, max_size=6), fraction=st.floats(0.05, 0.9))
def test_a_case_never_changes_sides(tmp_path_factory, steps, fraction):
    record = tmp_path_factory.mktemp("split") / "split.json"
    seen: dict[str, str] = {}
    there = 0
    for added in steps:
        there += added
        if there == 0:
            continue
        split = split_cases(cases(*range(there)), fraction, record)
        held = set(split.validation) if split.held_out else set()
        now = {f"c{n}": "validation" if f"c{n}" in held else "train" for n in range(there)}
        assert {name: now[name] for name in seen} == seen
        assert set(now) == set(split.train) | set(split.validation)
        seen = now


def test_the_wanted_share_is_held_back(tmp_path):
    split = split_cases(cases(*range(20)), 0.2, tmp_path / "s.json")
    assert (len(split.train), len(split.validation), split.note) == (16, 4, "")
    assert split.held_out


def test_the_order_of_cases_does_not_matter(tmp_path):
    forward = split_cases(cases(1, 2, 3, 4, 5), 0.4, tmp_path / "a.json")
    backward = split_cases(cases(5, 4, 3, 2, 1), 0.4, tmp_path / "b.json")
    assert set(forward.validation) == set(backward.validation)


def test_few_cases_are_all_trained_on_and_that_is_said(tmp_path):
    record = tmp_path / "s.json"
    split = split_cases(cases(1, 2), 0.2, record)
    assert split.train == split.validation == ("c1", "c2")
    assert not split.held_out
    assert "too few to hold one back" in split.note
    later = split_cases(cases(1, 2, 3), 0.2, record)
    assert later.train == ("c1", "c2")
    assert later.validation == ("c3",)


def test_a_renamed_or_rewritten_image_is_known_again(tmp_path):
    record = tmp_path / "s.json"
    first = split_cases(cases(*range(6)), 0.3, record)
    old = cases(*range(6))
    renamed = [SplitCase(f"new{c.name}", c.image_sha256) for c in old[:3]]
    rewritten = [SplitCase(c.name, "f" * 60 + c.name) for c in old[3:]]
    again = split_cases([*renamed, *rewritten], 0.3, record)
    held = {name.removeprefix("new") for name in again.validation}
    assert held == set(first.validation)


def test_of_two_trainings_that_begin_at_once_one_waits_for_the_others_split(tmp_path):
    record = tmp_path / "split.json"
    sides = ("validation", "validation", "train")
    other = [
        {"name": one.name, "image_sha256": one.image_sha256, "side": side}
        for one, side in zip(cases(1, 2, 3), sides, strict=True)
    ]
    with ThreadPoolExecutor() as pool:
        with FileLock(tmp_path / ".split.json.lock"):
            mine = pool.submit(split_cases, cases(1, 2, 3), 0.2, record)
            with pytest.raises(StillWaiting):
                mine.result(timeout=0.5)
            record.write_text(json.dumps({"cases": other}))
        assert mine.result().validation == tuple(one.name for one in cases(1, 2))


def test_a_damaged_record_is_not_overwritten(tmp_path):
    record = tmp_path / "s.json"
    record.write_text("{")
    with pytest.raises(ConfigError, match=r"s\.json is damaged.*restore it"):
        split_cases(cases(1, 2, 3), 0.2, record)
    assert record.read_text() == "{"


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_a_fraction_out_of_range_is_refused(tmp_path, fraction):
    with pytest.raises(ConfigError, match="must lie between 0 and 1"):
        split_cases(cases(1, 2, 3), fraction, tmp_path / "s.json")


def test_two_images_of_one_name_are_refused(tmp_path):
    twice = [SplitCase("a", "0" * 64), SplitCase("a", "1" * 64)]
    with pytest.raises(ConfigError, match="Two images are called 'a'"):
        split_cases(twice, 0.2, tmp_path / "s.json")


def test_copies_of_one_image_stay_together(tmp_path):
    there = [SplitCase("a", "0" * 64), SplitCase("b", "0" * 64), *cases(1, 2, 3)]
    record = tmp_path / "s.json"
    first = split_cases(there, 0.2, record)
    assert len({"a", "b"} & set(first.train)) in (0, 2)
    assert split_cases(there, 0.2, record) == first
    stated = tmp_path / "m.json"
    stated.write_text(json.dumps({"train": ["a", "c1"], "validation": ["b"]}))
    with pytest.raises(ConfigError, match="'a' and 'b' are of the same image"):
        read_manifest(stated, there)


def test_a_copy_of_a_known_image_joins_it(tmp_path):
    """A case is known by its name also where its file was replaced."""
    record = tmp_path / "s.json"
    first = split_cases(cases(1, 2, 3), 0.2, record)
    learnt = first.train[0]
    replaced = [
        SplitCase(one.name, "f" * 64) if one.name == learnt else one for one in cases(1, 2, 3)
    ]
    split = split_cases([*replaced, SplitCase("copy", "f" * 64), *cases(4, 5, 6, 7)], 0.5, record)
    assert {learnt, "copy"} <= set(split.train)


def test_studies_of_one_patient_stay_together(tmp_path):
    there = [
        SplitCase(f"{patient}{kind}", f"{7919 * patient % 1000}{kind}", patient=str(patient))
        for patient in range(10)
        for kind in "ab"
    ]
    split = split_cases(there, 0.3, tmp_path / "s.json")
    sides = [{name[:-1] for name in side} for side in (split.train, split.validation)]
    assert not sides[0] & sides[1]
    assert split.held_out
    later = [SplitCase(f"{patient}c", f"{patient}c", patient=str(patient)) for patient in range(10)]
    split = split_cases([*there, *later], 0.3, tmp_path / "s.json")
    assert not {name[:-1] for name in split.train} & {name[:-1] for name in split.validation}
    stated = tmp_path / "m.json"
    stated.write_text(json.dumps({"train": ["0a"], "validation": ["0b"]}))
    with pytest.raises(ConfigError, match="'0a' and '0b' are of the same patient"):
        read_manifest(stated, there)


def test_a_held_back_case_that_lost_its_label_is_replaced(tmp_path):
    record = tmp_path / "s.json"
    (held,) = split_cases(cases(1, 2, 3), 0.2, record).validation
    there = [SplitCase(one.name, one.image_sha256, one.name != held) for one in cases(1, 2, 3)]
    split = split_cases([*there, *cases(4, 5)], 0.2, record)
    assert set(split.validation) - {held}, "one that can be measured on is held back too"


def test_only_cases_with_a_structure_are_held_back(tmp_path):
    bare = [SplitCase(f"bare{n}", f"{n:064x}", labelled=False) for n in range(4)]
    labelled = [SplitCase(f"with{n}", f"{n + 90:064x}") for n in range(2)]
    split = split_cases([*bare, *labelled], 0.5, tmp_path / "s.json")
    assert split.validation == ("with0",), "one that can be learnt from stays"
    alone = split_cases([*bare, labelled[0]], 0.5, tmp_path / "alone.json")
    assert not alone.held_out


def test_a_stated_split_is_taken_as_stated(tmp_path):
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"train": ["01", "image_02"], "validation": ["03"]}))
    there = [SplitCase(f"image_0{n}", str(n) * 64) for n in (1, 2, 3, 4)]
    split = read_manifest(path, there)
    assert split.train == ("image_01", "image_02")
    assert split.validation == ("image_03",)
    assert split.note == "1 case(s) are on neither side of the split and not used."
    assert read_manifest(path, there[:3]).note == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"train": ["c1"]}', "cannot be read"),
        ("no json", "cannot be read"),
        ('{"train": ["c1"], "validation": ["c9"]}', "unknown cases \\['c9'\\]"),
        ('{"train": ["c1", "c2"], "validation": ["c2"]}', "on both sides \\['c2'\\]"),
        ('{"train": ["c1"], "validation": []}', "0 for validation"),
    ],
)
def test_a_split_that_cannot_be_is_refused(tmp_path, text, why):
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=why):
        read_manifest(path, cases(1, 2))
