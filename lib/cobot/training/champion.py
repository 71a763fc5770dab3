"""A new adapter takes the place of the active one only if it is not worse on the same cases."""

from dataclasses import dataclass, replace

from cobot.adapters.checkpoint import AdapterFile
from cobot.adapters.store import AdapterStore
from cobot.training.validate import ValidationScores

BASE = "base"
"""The champion's name as long as no version is active: the base without an adapter."""


@dataclass(frozen=True, slots=True)
class Champion:
    """What is in use, and how good it is.

    Attributes:
        name: of the active version, or `BASE`.
        scores: on the validation cases; None if that would say nothing.
        why: it would say nothing, as the end of a sentence that begins with the name.
    """

    name: str
    scores: ValidationScores | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a challenger.

    Attributes:
        version: the published version; None if it was not published.
        champion: what it was compared with.
        challenger: its own scores.
        reason: one sentence for the user.
    """

    version: str | None
    champion: Champion
    challenger: ValidationScores
    reason: str


def decide(
    store: AdapterStore, file: AdapterFile, challenger: ValidationScores, champion: Champion
) -> Verdict:
    """Publish and activate an adapter, if it is not worse than what is active now.

    Both figures go into the published card. Where the active version cannot be compared the
    adapter is published but not activated.

    Args:
        store: where versions are.
        file: the challenger.
        challenger: its scores.
        champion: what is active, measured on the same cases.
    """
    if champion.scores is not None and challenger.mean < champion.scores.mean:
        reason = (
            f"Not published: Dice {challenger.mean:.4f} is below {champion.scores.mean:.4f} of "
            f"{champion.name} on the same cases."
        )
        return Verdict(None, champion, challenger, reason)
    version = store.publish(_with_figures(file, champion, challenger)).name
    if champion.scores is None:
        reason = (
            f"{version} is published but not active: {champion.name} could not be compared, for "
            f"{champion.why} To use the new one: cobot adapters activate {version}."
        )
        return Verdict(version, champion, challenger, reason)
    store.activate(version)
    reason = (
        f"{version} is published and active: Dice {challenger.mean:.4f}, against "
        f"{champion.scores.mean:.4f} of {champion.name} on the same cases."
    )
    return Verdict(version, champion, challenger, reason)


def published_before(store: AdapterStore, run: str) -> str | None:
    """The version that a run published, if it did: a run publishes once."""
    names = [one.name for one in store.versions() if one.card.recipe.get("run") == run]
    return names[-1] if names else None


def _with_figures(
    file: AdapterFile, champion: Champion, challenger: ValidationScores
) -> AdapterFile:
    """The adapter with both figures in its card."""
    metrics: dict[str, object] = {
        **file.card.metrics,
        "dice": challenger.mean,
        "dice_by_label": challenger.by_label,
        "champion": champion.name,
        "champion_dice": champion.scores.mean if champion.scores else None,
        "champion_dice_by_label": champion.scores.by_label if champion.scores else {},
    }
    return replace(file, card=replace(file.card, metrics=metrics))
