"""From scanner values to the grey values an encoder sees, without touching the volume."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from cobot.errors import WindowError
from cobot.shapes import Pixels
from cobot.volume import Volume

CT_LOWEST_TISSUE_HU = -200
"""Only lung and air lie below; a volume that reaches below it is taken for CT in HU."""


@dataclass(frozen=True, slots=True)
class IntensityWindow:
    """The range of values spread over black to white.

    Attributes:
        lower: value shown black; HU for CT.
        upper: value shown white.
    """

    lower: int | float
    upper: int | float

    def __post_init__(self) -> None:
        if not (np.isfinite([self.lower, self.upper]).all() and self.lower < self.upper):
            raise WindowError(
                f"A window needs two finite values, lower < upper, got {self.lower} and "
                f"{self.upper}. Name another, as --window lower,upper, in the image's own values; "
                "an image of one grey value shows nothing in any window."
            )

    def apply(self, pixels: Pixels) -> Float32[np.ndarray, "row col"]:
        """Pixels spread over 0 (black) to 1 (white), values outside clipped."""
        unit = (pixels.astype(np.float32) - self.lower) / (self.upper - self.lower)
        return np.clip(unit, 0, 1, dtype=np.float32)


@runtime_checkable
class WindowRule(Protocol):
    """Something that names the window of a volume once it has seen it."""

    def resolve(self, volume: Volume) -> IntensityWindow:
        """The window for this volume; the same for all of its slices."""
        ...


@dataclass(frozen=True, slots=True)
class FixedWindow:
    """One window for every volume: CT, where values are Hounsfield units."""

    lower_hu: int | float
    upper_hu: int | float

    def resolve(self, volume: Volume) -> IntensityWindow:
        """The window itself, whatever the volume."""
        return IntensityWindow(self.lower_hu, self.upper_hu)


@dataclass(frozen=True, slots=True)
class PercentileWindow:
    """Percentiles of a volume's foreground (values above 0): MR, whose units are arbitrary.

    0.5 and 99.5 are MedSAM's, and the SAM-COBOT paper's, choice for everything but CT.
    """

    lower_percent: int | float = 0.5
    upper_percent: int | float = 99.5

    def resolve(self, volume: Volume) -> IntensityWindow:
        """The window of this volume.

        Raises:
            WindowError: nothing lies above 0, or the foreground has a single value.
        """
        foreground = volume.voxels[volume.voxels > 0]
        if foreground.size == 0:
            raise WindowError("The volume has no value above 0; name a window in its own units.")
        lower, upper = np.percentile(foreground, [self.lower_percent, self.upper_percent])
        return IntensityWindow(float(lower), float(upper))


PRESETS: Mapping[str, WindowRule] = {
    "abdomen": FixedWindow(-160.0, 240.0),
    "lung": FixedWindow(-1350.0, 150.0),
    "brain": FixedWindow(0.0, 80.0),
    "mediastinum": FixedWindow(-125.0, 225.0),
    "spleen": FixedWindow(-57.0, 164.0),
    "synapse": FixedWindow(-125.0, 275.0),
    "btcv": FixedWindow(-175.0, 250.0),
    "bone": FixedWindow(-1000.0, 2000.0),
    "cobot-paper": FixedWindow(-500.0, 1000.0),
    "vista3d": FixedWindow(-963.8247, 1053.678),
    "mr": PercentileWindow(0.5, 99.5),
}
"""Named windows. abdomen, lung, brain and mediastinum: MedSAM (W400 L40; W1500 L-600; W80 L40;
W350 L50). spleen: MONAI's tutorial. synapse: SAMed. btcv: the MONAI recipe. cobot-paper: the
SAM-COBOT experiments. bone: W3000 L500, general radiology practice."""


def looks_like_ct(volume: Volume) -> bool:
    """Whether values reach where only Hounsfield units go (air is -1000)."""
    return bool(volume.voxels.min() < CT_LOWEST_TISSUE_HU)


def window_rule(text: str, volume: Volume) -> WindowRule:
    """Read a window as a user writes it.

    Args:
        text: a preset's name, `auto` (abdomen for CT, percentiles otherwise), or `lower,upper`.
        volume: what `auto` looks at.

    Raises:
        WindowError: neither a preset nor two numbers.
    """
    if text == "auto":
        return PRESETS["abdomen" if looks_like_ct(volume) else "mr"]
    return stated_window(text)


def stated_window(text: str) -> WindowRule:
    """Read a window that needs no look at a volume.

    Args:
        text: a preset's name, or `lower,upper`.

    Raises:
        WindowError: neither a preset nor two numbers.
    """
    if text in PRESETS:
        return PRESETS[text]
    try:
        lower, upper = (float(part) for part in text.split(","))
    except ValueError:
        raise WindowError(
            f"Unknown window {text!r}; expected auto, two numbers such as -160,240, or one of "
            f"{', '.join(PRESETS)}."
        ) from None
    return FixedWindow(lower, upper)
