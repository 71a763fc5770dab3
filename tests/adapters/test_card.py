from dataclasses import replace

import pytest
from cobot.adapters.card import AdapterCard
from cobot.errors import AdapterError


def test_comes_back_from_its_dict(card):
    assert AdapterCard.from_dict(card.to_dict()) == card


@pytest.mark.parametrize("sha", ["", "AB" * 32, "ab" * 31, "zz" * 32])
def test_base_hash_must_be_one(sha):
    with pytest.raises(AdapterError, match="must be 64 lower-case hexadecimal"):
        AdapterCard("vit_b", sha)


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_values_must_be_plain_finite_json(card, value):
    with pytest.raises(AdapterError, match="every field must be plain, finite JSON"):
        replace(card, metrics={"dice": value})


def test_unknown_and_missing_fields_are_refused(card):
    with pytest.raises(AdapterError, match=r"unknown fields \['patient'\], missing \[\]"):
        AdapterCard.from_dict(card.to_dict() | {"patient": "x"})
    with pytest.raises(AdapterError, match=r"missing \['base_sha256', 'encoder'\]"):
        AdapterCard.from_dict({})
