"""What is trained: which structures, in which window, cut how."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from cobot.errors import ConfigError
from cobot.geometry import patient_axes
from cobot.intensity import IntensityWindow, WindowRule, stated_window, window_rule
from cobot.planes import Plane, acquired_plane, plane_across
from cobot.shapes import Affine
from cobot.volume import Volume

AUTO = "auto"
"""A window chosen by the look of the volume, as `cobot.intensity.window_rule` does."""

PATIENT_PLANES: Mapping[str, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
"""Name to the patient axis (R A S) that is cut across."""

CUTS = ("acquired", *PATIENT_PLANES, "i", "j", "k")


@runtime_checkable
class DescribedDataset(Protocol):
    """What training reads of a data set's description."""

    @property
    def name(self) -> str:
        """How users call it."""
        ...

    @property
    def labels(self) -> Mapping[int, str]:
        """Value to name, without background."""
        ...

    @property
    def plane(self) -> str:
        """One of `CUTS`."""
        ...

    def window(self, label: str) -> WindowRule:
        """Of one structure."""
        ...


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """Structures to learn, and how volumes are shown.

    Attributes:
        name: of the data set or task; part of the adapter's card.
        labels: value in a label file to name, without background.
        windows: structure to its window; one that is left out gets `AUTO`.
        cut: axial, coronal, sagittal, acquired (across the coarsest spacing), or a voxel axis.
    """

    name: str
    labels: Mapping[int, str]
    windows: Mapping[str, WindowRule] = field(default_factory=dict)
    cut: str = "acquired"

    def __post_init__(self) -> None:
        names = list(self.labels.values())
        if not names or 0 in self.labels or len(set(names)) != len(names):
            raise ConfigError(
                f"Task {self.name!r} has labels {dict(self.labels)}; expected at least one, each "
                "value and each name once, without background (0)."
            )
        if self.cut not in CUTS:
            raise ConfigError(f"Unknown plane {self.cut!r}; expected one of {', '.join(CUTS)}.")
        unknown = sorted(set(self.windows) - set(names))
        if unknown:
            raise ConfigError(f"Windows are given for {unknown}, which task {self.name!r} lacks.")

    @classmethod
    def of(cls, dataset: DescribedDataset) -> "TrainingTask":
        """The task of learning all structures of a data set."""
        windows = {name: dataset.window(name) for name in dataset.labels.values()}
        return cls(dataset.name, dict(dataset.labels), windows, dataset.plane)

    def shown_in(self, window: str) -> "TrainingTask":
        """The same with one window for every structure, as users write it.

        Raises:
            WindowError: there is no such window.
        """
        rules = {} if window == AUTO else dict.fromkeys(self.labels.values(), stated_window(window))
        return replace(self, windows=rules)

    def plane(self, affine: Affine) -> Plane:
        """How a volume with this affine is cut."""
        if self.cut == "acquired":
            return acquired_plane(affine)
        if self.cut in PATIENT_PLANES:
            towards = [patient_axis for patient_axis, _ in patient_axes(affine)]
            return plane_across(affine, towards.index(PATIENT_PLANES[self.cut]))
        return plane_across(affine, "ijk".index(self.cut))

    def window_groups(self) -> dict[str, tuple[int, ...]]:
        """Each different window, by a text that names it, to the label values shown in it."""
        groups: dict[str, tuple[int, ...]] = {}
        for value, name in sorted(self.labels.items()):
            text = self._window_text(name)
            groups[text] = (*groups.get(text, ()), value)
        return groups

    def resolve_windows(self, volume: Volume) -> dict[str, IntensityWindow]:
        """The windows of `window_groups` for one volume.

        Raises:
            WindowError: a window does not fit the volume.
        """
        rules = {self._window_text(name): self.windows.get(name) for name in self.labels.values()}
        return {
            text: (rule or window_rule(AUTO, volume)).resolve(volume)
            for text, rule in rules.items()
        }

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "labels": {str(value): name for value, name in sorted(self.labels.items())},
            "windows": {name: self._window_text(name) for name in sorted(self.labels.values())},
            "cut": self.cut,
        }

    def _window_text(self, name: str) -> str:
        return str(self.windows.get(name, AUTO))


def parse_labels(text: str) -> dict[int, str]:
    """Read labels as a user writes them.

    >>> parse_labels("1=liver, 4=spleen")
    {1: 'liver', 4: 'spleen'}

    Raises:
        ConfigError: it cannot be read so.
    """
    try:
        pairs = [part.split("=") for part in text.split(",") if part.strip()]
        labels = [(int(value), name.strip()) for value, name in pairs]
    except ValueError:
        labels = []
    if not labels or len(dict(labels)) < len(labels) or not all(name for _, name in labels):
        raise ConfigError(
            f"Labels {text!r} cannot be read; give each value once, and its name, for example "
            "1=liver,4=spleen."
        )
    return dict(labels)
