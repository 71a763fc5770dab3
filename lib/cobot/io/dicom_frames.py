"""Enhanced CT and MR images, which hold a whole volume in one file, taken apart into slices.

What a slice's header says, an enhanced image says in groups: once for all frames, or frame by frame
(DICOM PS3.3, C.7.6.16). Put back together, a frame is a slice like any other.
"""

from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import (
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
)

from cobot.errors import ImageReadError

ENHANCED = {
    *(EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage),
    *(EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage),
}
"""The storage classes whose frames are slices of a CT or MR volume."""

SHARED = "SharedFunctionalGroupsSequence"
OWN = "PerFrameFunctionalGroupsSequence"
GROUP_TAGS = (SHARED, OWN)
"""The fields that hold the groups of all frames, and of each."""

SLICE_GROUPS = (
    *("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"),
    "PixelValueTransformationSequence",
)
"""Where the fields of a slice's header stand: its place, its spacing, its rescaling."""


def frames_of(dataset: Dataset, count: int, path: Path) -> list[Dataset]:
    """One dataset a frame, in the order of the file, each with the fields of a single slice.

    Args:
        dataset: the header of an enhanced image, `GROUP_TAGS` among it.
        count: how many frames it says it has.
        path: its file.

    Raises:
        ImageReadError: it does not describe as many frames as it says it has.
    """
    own: Sequence[Dataset] = dataset.get(OWN) or ()
    if len(own) != count:
        raise ImageReadError(
            f"{path} says that it has {count} frames and describes {len(own)}; it is cut short. "
            "Copy it again."
        )
    shared = (dataset.get(SHARED) or [Dataset()])[0]
    common = copied(dataset, but_for=(*GROUP_TAGS, "NumberOfFrames"))
    return [_frame(common, shared, groups) for groups in own]


def copied(dataset: Dataset, but_for: Sequence[str] = ()) -> Dataset:
    """A dataset of the same fields, but for those named; the values are shared."""
    copy = Dataset()
    copy.update({tag: dataset[tag] for tag in dataset.keys()})
    copy.file_meta = dataset.file_meta
    for keyword in but_for:
        copy.pop(keyword, None)
    return copy


def _frame(common: Dataset, shared: Dataset, own: Dataset) -> Dataset:
    frame = copied(common)
    for group in SLICE_GROUPS:
        for item in own.get(group) or shared.get(group) or ():
            frame.update(item)
    return frame
