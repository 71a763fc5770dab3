"""Which values of two label maps are the same structure: by name, and by value only if both agree.

A file numbers its labels as it likes: value 1 may be the liver in one and the spleen in the other.
Names therefore come first. Without any name on either side, equal values are the same structure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from cobot.datasets.plain_names import plain_name
from cobot.errors import ConfigError
from cobot.shapes import LabelVoxels
from cobot.volume import LabelMap


@dataclass(frozen=True, slots=True)
class LabelRule:
    """What is said of the labels of one pair, beside their headers.

    Attributes:
        names: value to name, for files that carry no names of their own.
        wanted: the structures to measure, also where a file does not name them; None takes those
            that both files name.
        submitted: value to name in the truth, as they were submitted with it; they count before
            names in its header, and for no other file.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    wanted: Sequence[str] | None = None
    submitted: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class NamedFile:
    """A label map, the file it came from, and the values of each name."""

    path: Path
    voxels: LabelVoxels
    values: Mapping[str, Sequence[int]]

    def mask(self, name: str) -> Bool[np.ndarray, "i j k"]:
        """The voxels of a structure; none where the file does not name it."""
        return np.isin(self.voxels, self.values.get(plain_name(name), ()))


@dataclass(frozen=True, slots=True, eq=False)
class SharedLabels:
    """Two files, read by the same names.

    Attributes:
        prediction: what was found.
        truth: what is there.
        names: the structures to measure, as the truth, or the user, writes them.
        left_out: structures that only one of the two names.
    """

    prediction: NamedFile
    truth: NamedFile
    names: tuple[str, ...]
    left_out: tuple[str, ...]


def share_labels(
    prediction: tuple[Path, LabelMap], truth: tuple[Path, LabelMap], rule: LabelRule
) -> SharedLabels:
    """Find out which structures two label maps share.

    Args:
        prediction: file and what it holds.
        truth: file and what it holds.
        rule: what else is said of them.

    Raises:
        ConfigError: only one of the two files names its labels, or they share no name.
    """
    found, true = _names_of_both(prediction, truth, rule)
    one, other = _file(prediction, found), _file(truth, true)
    spelt = {plain_name(name): name for name in [*found.values(), *true.values()]}
    shared = [name for name in other.values if name in one.values]
    wanted = rule.wanted if rule.wanted is not None else [spelt[name] for name in shared]
    if spelt and not wanted:
        raise ConfigError(
            f"{prediction[0]} names {_listed(found)}, {truth[0]} names {_listed(true)}: none is "
            "the same. Rename the labels in one of them, or take the names out and use --labels."
        )
    taken = {plain_name(name) for name in wanted}
    left_out = tuple(sorted(name for plain, name in spelt.items() if plain not in taken))
    return SharedLabels(one, other, tuple(dict.fromkeys(wanted)), left_out)


def carried_names(labels: Mapping[int, str]) -> dict[int, str]:
    """The names a file carries itself: all of them if at least one is not made from its value.

    >>> carried_names({1: "label_1", 2: "label_2"})
    {}
    >>> carried_names({1: "liver", 2: "label_2"})
    {1: 'liver', 2: 'label_2'}
    """
    real = any(name != f"label_{value}" for value, name in labels.items())
    return dict(labels) if real else {}


def _names_of_both(
    prediction: tuple[Path, LabelMap], truth: tuple[Path, LabelMap], rule: LabelRule
) -> tuple[dict[int, str], dict[int, str]]:
    """Value to name in the prediction and in the truth; refuses to guess what a value means."""
    found = carried_names(prediction[1].labels) or dict(rule.names)
    true = dict(rule.submitted) or carried_names(truth[1].labels) or dict(rule.names)
    # An empty map without names, as other tools write it, holds nothing that could be mistaken.
    found = found if found or prediction[1].labels else true
    true = true if true or truth[1].labels else found
    if bool(found) != bool(true):
        nameless, named = (truth[0], found) if found else (prediction[0], true)
        raise ConfigError(
            f"{nameless} does not name its labels, the other file does ({_listed(named)}); the "
            'same value may mean another structure. Say what its values mean: --labels "1=liver".'
        )
    if found:
        return found, true
    values = sorted({*prediction[1].labels, *truth[1].labels})
    by_value = {value: f"label_{value}" for value in values}
    return by_value, by_value


def _file(file: tuple[Path, LabelMap], names: Mapping[int, str]) -> NamedFile:
    values: dict[str, list[int]] = {}
    for value, name in names.items():
        values.setdefault(plain_name(name), []).append(value)
    return NamedFile(file[0], file[1].voxels, values)


def _listed(names: Mapping[int, str]) -> str:
    return ", ".join(f"{value}={name}" for value, name in sorted(names.items())[:8])
