"""`cobot adapters compare`: two versions, and whether their figures may be compared."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from cobot.adapters.store import AdapterVersion

_FIGURE = "{:.4f}"


def comparison(first: "AdapterVersion", second: "AdapterVersion") -> tuple["Table", str]:
    """A table of what differs, with the Dice of both, and what to think of it in one sentence."""
    from rich.table import Table

    table = Table(title=f"{first.name} and {second.name}")
    for column in ("", first.name, second.name, "difference"):
        table.add_column(column)
    for name, one, other in _settings(first, second):
        if one != other:
            table.add_row(name, str(one), str(other), "")
    dice = [_dice(version) for version in (first, second)]
    for name in sorted({*dice[0], *dice[1]}, key=lambda name: (name != "mean", name)):
        one, other = (scores.get(name) for scores in dice)
        table.add_row(
            f"Dice {name}",
            *("-" if value is None else _FIGURE.format(value) for value in (one, other)),
            "" if one is None or other is None else f"{other - one:+.4f}",
        )
    return table, _comparable(first, second)


def _settings(
    first: "AdapterVersion", second: "AdapterVersion"
) -> list[tuple[str, object, object]]:
    """Name and both values of what made the versions."""
    rows: list[tuple[str, object, object]] = [
        ("method", first.config.name, second.config.name),
        ("width", first.config.width, second.config.width),
    ]
    for name in ("encoder", "base_sha256", "image_size_px", "dataset", "seed", "parent"):
        rows.append((name, getattr(first.card, name), getattr(second.card, name)))
    recipes = first.card.recipe, second.card.recipe
    for name in sorted({*recipes[0], *recipes[1]} - {"run"}):
        rows.append((f"recipe {name}", recipes[0].get(name), recipes[1].get(name)))
    counts = [len(version.card.image_hashes) for version in (first, second)]
    return [*rows, ("training images", counts[0], counts[1])]


def _dice(version: "AdapterVersion") -> dict[str, float]:
    """Structure to Dice as its card says, and the mean over cases."""
    metrics = version.card.metrics
    by_label = metrics.get("dice_by_label")
    named = {"mean": metrics.get("dice"), **(by_label if isinstance(by_label, Mapping) else {})}
    return {name: value for name, value in named.items() if isinstance(value, float)}


def _comparable(first: "AdapterVersion", second: "AdapterVersion") -> str:
    hashes, others = (
        version.card.split.get("validation_image_hashes") for version in (first, second)
    )
    if not isinstance(hashes, Sequence) or not hashes or hashes != others:
        return "They were not measured on the same cases, so the figures must not be compared."
    if not all(version.card.split.get("held_out") for version in (first, second)):
        return "At least one was measured on cases it was trained on."
    return f"Both were measured on the same {len(hashes)} held-back cases."
