"""The first stage: an image, its window and what is asked of it, in memory."""

import struct
import time
import zlib
from dataclasses import dataclass

from cobot.batch.asking import AskedSlices, PromptSource
from cobot.batch.fingerprint import looks_unchanged, take_fingerprint
from cobot.batch.inputs import InputCase
from cobot.batch.record import Fingerprint
from cobot.batch.settings import CaseSettings
from cobot.errors import CobotError, ImageReadError
from cobot.intensity import IntensityWindow, window_rule
from cobot.io import read_dicom_files, read_grid, read_volume
from cobot.planes import Plane
from cobot.volume import Volume

BYTES_A_VOXEL = 6
"""While it is worked on: float32 at most, and a mask of uint16."""

UNREADABLE = (
    *(CobotError, OSError, ValueError, RuntimeError, MemoryError, ArithmeticError, LookupError),
    *(TypeError, AttributeError, EOFError, zlib.error, struct.error),
)
"""What libraries raise for damaged files; one bad file must not end the run."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCase:
    """A case ready to be segmented.

    Attributes:
        case: which one.
        volume: its image.
        plane: how it is cut.
        window: black to white.
        asked: what is asked of its slices.
        fingerprint: of its files, as they were read.
        seconds: that it took.
    """

    case: InputCase
    volume: Volume
    plane: Plane
    window: IntensityWindow
    asked: AskedSlices
    fingerprint: Fingerprint
    seconds: float


@dataclass(frozen=True, slots=True)
class FailedCase:
    """A case that could not be read or segmented.

    Attributes:
        case: which one.
        error: what was wrong, what was expected and the cure.
        fingerprint: of its files; None if they could not be read.
    """

    case: InputCase
    error: str
    fingerprint: Fingerprint | None = None


def memory_wanted(case: InputCase) -> int:
    """How many bytes a case will take, from its headers; a bad file, which will be refused, none.

    A packed file takes its own size as well while it is unpacked. DICOM slices are mostly stored
    plainly, in two bytes a voxel: opening hundreds of them only to be told so would take seconds.
    """
    try:
        on_disk = sum(file.stat().st_size for file in case.files)
        if case.is_dicom:
            return on_disk * (1 + BYTES_A_VOXEL // 2)
        i, j, k = read_grid(case.path).shape
        return i * j * k * BYTES_A_VOXEL + on_disk
    except UNREADABLE:
        return 0


def prepare(
    case: InputCase, source: PromptSource, settings: CaseSettings
) -> PreparedCase | FailedCase:
    """Read a case; whatever is wrong with it becomes a value."""
    started = time.perf_counter()
    found = None
    try:
        found = take_fingerprint(case.files)
        volume = read_dicom_files(case.files) if case.is_dicom else read_volume(case.path)
        if not looks_unchanged(case.files, found):
            raise ImageReadError(
                f"{case.path} changed while it was read; start again once it is complete."
            )
        plane = source.plane(volume.affine, settings.axis)
        window = window_rule(settings.window, volume).resolve(volume)
        asked = source.ask(case, volume, plane)
    except UNREADABLE as error:
        return FailedCase(case, describe_error(error, case), found)
    return PreparedCase(case, volume, plane, window, asked, found, time.perf_counter() - started)


def describe_error(error: BaseException, case: InputCase) -> str:
    """What to tell of an error: ours speak for themselves, others are named with their file."""
    if isinstance(error, CobotError):
        return str(error)
    what = f"{type(error).__name__}: {error}".strip(": ")
    return (
        f"{case.path} could not be segmented ({what}). Open it in another program to see whether "
        "it is whole; if it is, this is our error: please report it with this message."
    )
