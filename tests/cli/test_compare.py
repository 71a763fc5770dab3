"""What two versions differ in, and whether their figures may be compared."""

from pathlib import Path

import pytest
from cobot.adapters.card import AdapterCard
from cobot.adapters.config import AdapterConfig
from cobot.adapters.store import AdapterVersion
from cobot.cli.compare import comparison
from rich.console import Console


def version(name: str, dice: float, cases: list[str], held_out: bool = True) -> AdapterVersion:
    card = AdapterCard(
        "tiny",
        "0" * 64,
        recipe={"epochs": int(name[-1]), "run": name},
        split={"validation_image_hashes": cases, "held_out": held_out},
        metrics={"dice": dice, "dice_by_label": {"liver": dice}},
    )
    return AdapterVersion(name, Path(name), AdapterConfig.named("lora"), card)


def printed(first: AdapterVersion, second: AdapterVersion) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(comparison(first, second)[0])
    return capture.get()


def test_only_what_differs_is_shown_with_the_gain():
    text = printed(version("v0001", 0.8, ["a"]), version("v0002", 0.85, ["a"]))
    assert "recipe epochs" in text
    assert "+0.0500" in text
    assert "encoder" not in text
    assert "recipe run" not in text


@pytest.mark.parametrize(
    ("other", "remark"),
    [
        (version("v0002", 0.8, ["a", "b"]), "same 2 held-back cases"),
        (version("v0002", 0.8, ["a"]), "not measured on the same cases"),
        (version("v0002", 0.8, ["a", "b"], held_out=False), "cases it was trained on"),
    ],
)
def test_figures_of_other_cases_are_not_to_be_compared(other, remark):
    assert remark in comparison(version("v0001", 0.7, ["a", "b"]), other)[1]


def test_versions_from_before_have_no_figures_to_compare():
    bare = AdapterVersion(
        "v0001", Path(), AdapterConfig.named("lora"), AdapterCard("tiny", "0" * 64)
    )
    assert "not measured on the same cases" in comparison(bare, bare)[1]
