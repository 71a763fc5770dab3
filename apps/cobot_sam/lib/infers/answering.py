"""What every model of this app does with a request: refuse in words, write the mask, say a word."""

import logging
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cobot.errors import AdapterError, CobotError, ConfigError, WeightsError
from cobot.intensity import PRESETS
from cobot.io.images import write_label_map
from cobot.volume import LabelMap
from fastapi import HTTPException

logger = logging.getLogger(__name__)

DISCLAIMER = "Not for clinical use; check every slice."


def offered_windows(first: str) -> list[str]:
    """Windows by name for Slicer's options; the first one is chosen at the start."""
    return [first, *(name for name in ("auto", *PRESETS) if name != first)]


class AnswerFolder:
    """A folder of its own for answers on their way.

    A client on this machine may save answers under the same name in the shared temporary folder,
    where MONAI Label's clean-up would take them away.
    """

    def __init__(self) -> None:
        """Make the folder; it goes with the process."""
        self._folder = tempfile.TemporaryDirectory(prefix="cobot-sam-")

    def write(self, label_map: LabelMap, extension: str, image: Path) -> str:
        """Write a label map on its image's grid; MONAI Label deletes it once it is sent."""
        file = Path(self._folder.name) / f"cobot-{secrets.token_hex(8)}{extension}"
        write_label_map(label_map, file, like=image)
        return str(file)


@contextmanager
def refusals(image: Path) -> Iterator[None]:
    """Turn the library's refusals into answers Slicer shows; never a folder of this machine."""
    try:
        yield
    except CobotError as error:
        message = str(error).replace(f"{image.parent}/", "")
        status = 503 if isinstance(error, WeightsError | ConfigError | AdapterError) else 422
        logger.info("Refused with %s: %s", status, type(error).__name__)
        raise HTTPException(status, message) from None
