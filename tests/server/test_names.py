"""Names from clients: what passes and what leads out of a folder."""

import pytest
from cobot.server.names import label_names, require_safe_name
from fastapi import HTTPException
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("name", ["spleen_8", "CT (2)", "1.2.840.1", "Müller", "a+b=c,[d]", "_x"])
def test_ordinary_names_pass(name):
    assert require_safe_name("image", name) == name


@pytest.mark.parametrize(
    "name", ["", "..", "../a", "a/b", "a\\b", ".hidden", "a..b", "a\x00b", "a\nb", "x" * 201, "~a"]
)
def test_names_that_may_lead_elsewhere_are_refused(name):
    with pytest.raises(HTTPException, match="not a usable name") as refused:
        require_safe_name("image", name)
    assert refused.value.status_code == 422


@given(st.text())
def test_what_passes_is_one_part_of_a_path(name):
    try:
        require_safe_name("image", name)
    except HTTPException:
        return
    assert not set(name) & set("/\\\0\n\r")
    assert name not in (".", "..")


def test_values_follow_the_rank_and_not_slicers_index():
    given_ = [{"name": "liver", "idx": 2}, {"name": "spleen", "idx": 3}]
    assert label_names(given_) == {"label_names": {"liver": 1, "spleen": 2}}


@pytest.mark.parametrize("nameless", [{"idx": 1}, {"name": ""}, {"name": None}, "spleen"])
def test_a_segment_without_a_name_shifts_nobodys_value(nameless):
    given_ = [nameless, {"name": "liver"}, nameless, {"name": "spleen"}]
    assert label_names(given_) == {"label_names": {"liver": 2, "spleen": 4}}


def test_two_segments_of_one_name_are_refused():
    with pytest.raises(HTTPException, match="Two segments are called 'liver'") as refused:
        label_names([{"name": "liver"}, {"name": "spleen"}, {"name": "liver"}])
    assert refused.value.status_code == 422


@pytest.mark.parametrize("label_info", [None, [], "x", [{"idx": 1}], 3])
def test_label_info_without_names_gives_none(label_info):
    assert not label_names(label_info).get("label_names")
