"""What is known of a data set before any file of it is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from cobot.datasets.plain_names import plain_name
from cobot.errors import DatasetError
from cobot.geometry import patient_axes
from cobot.intensity import WindowRule
from cobot.planes import Plane, acquired_plane, plane_across
from cobot.shapes import Affine
from cobot.volume import LARGEST_LABEL

PlaneName = Literal["axial", "coronal", "sagittal", "acquired"]
ACROSS: Mapping[str, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The patient axis (R A S) that a plane of this name is cut across."""


@dataclass(frozen=True, slots=True)
class OrganGroup:
    """Structures that are looked at through one window.

    Attributes:
        name: for people, such as `bone`.
        labels: the structures' names.
        window: what spreads their intensities over black to white.
    """

    name: str
    labels: tuple[str, ...]
    window: WindowRule


@dataclass(frozen=True, slots=True)
class Terms:
    """On which conditions the data may be used.

    Attributes:
        licence: its name, or what is known instead.
        meaning: what that means for users of this project, in plain words.
        address: where the data and their terms are published; empty for data of one's own.
    """

    licence: str
    meaning: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Final. A data set's labels, windows, plane and terms.

    Attributes:
        name: as in commands and file names.
        title: as its publishers call it.
        labels: value in label maps to name, without background.
        groups: every label is in exactly one.
        plane: how slices are cut. CT is read axially, whatever its spacing; `acquired` takes the
            axis of the coarsest spacing.
        terms: on which conditions it may be used.
    """

    name: str
    title: str
    labels: Mapping[int, str]
    groups: tuple[OrganGroup, ...]
    plane: PlaneName
    terms: Terms

    def __post_init__(self) -> None:
        _require_good_labels(self.title, self.labels)
        grouped = [label for group in self.groups for label in group.labels]
        if sorted(grouped) != sorted(self.labels.values()):
            off = sorted(
                {label for label in grouped if grouped.count(label) > 1}
                | (set(grouped) ^ set(self.labels.values()))
            )
            raise DatasetError(
                f"{self.title}: each label belongs to exactly one organ group; look at "
                f"{', '.join(off)}."
            )
        if self.plane not in get_args(PlaneName):
            raise DatasetError(
                f"{self.title}: plane {self.plane!r} is unknown; expected one of "
                f"{', '.join(get_args(PlaneName))}."
            )

    def window(self, label: str) -> WindowRule:
        """The window of one structure.

        Raises:
            DatasetError: the data set has no such structure.
        """
        for group in self.groups:
            if label in group.labels:
                return group.window
        raise DatasetError(
            f"{self.title} has no label {label!r}; it has {', '.join(self.labels.values())}."
        )

    def cut(self, affine: Affine) -> Plane:
        """The plane in which a volume of this data set is sliced."""
        if self.plane == "acquired":
            return acquired_plane(affine)
        towards = [patient_axis for patient_axis, _ in patient_axes(affine)]
        return plane_across(affine, towards.index(ACROSS[self.plane]))


def _require_good_labels(title: str, labels: Mapping[int, str]) -> None:
    wrong = [value for value in labels if not 1 <= value <= LARGEST_LABEL]
    if wrong or not labels:
        raise DatasetError(
            f"{title}: label values {wrong} cannot be stored; expected at least one, each from 1 "
            f"to {LARGEST_LABEL} (0 is background)."
        )
    names = list(labels.values())
    bad = [name for name in names if not name.strip() or not name.isprintable()]
    if bad:
        raise DatasetError(
            f"{title}: label name {bad[0]!r} is empty or not printable; expected one name a value."
        )
    _require_distinct(title, names)


def _require_distinct(title: str, names: Sequence[str]) -> None:
    """Training reads labels by name, and takes for one name what people mean as one."""
    first_of: dict[str, str] = {}
    for name in names:
        meant = plain_name(name)
        if meant in first_of:
            raise DatasetError(
                f"{title}: labels {first_of[meant]!r} and {name!r} are one name where labels are "
                "read by name: capitals, spaces and underscores do not count. Expected one name a "
                "value; rename one."
            )
        first_of[meant] = name
