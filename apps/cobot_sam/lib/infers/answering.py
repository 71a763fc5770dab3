"""What every model of this app does with a request: refuse in words, write the mask, say a word."""

import logging
import secrets
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from cobot.errors import AdapterError, CobotError, ConfigError, WeightsError
from cobot.intensity import PRESETS
from cobot.io.images import write_label_map
from cobot.server.predictions import GivenMask, PredictionStore
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
        """Make nothing yet: a process that is killed before its first answer leaves no folder."""
        self._made: tempfile.TemporaryDirectory[str] | None = None
        self._making = threading.Lock()

    def write(self, label_map: LabelMap, extension: str, image: Path) -> str:
        """Write a label map on its image's grid; MONAI Label deletes it once it is sent."""
        file = self._folder() / f"cobot-{secrets.token_hex(8)}{extension}"
        write_label_map(label_map, file, like=image)
        return str(file)

    def remove(self) -> None:
        """Take the folder away now, with what is in it."""
        with self._making:
            if self._made is not None:
                self._made.cleanup()
                self._made = None

    def _folder(self) -> Path:
        """The folder; it goes with the process."""
        with self._making:
            if self._made is None:
                self._made = tempfile.TemporaryDirectory(prefix="cobot-sam-")
            return Path(self._made.name)


def keep_structures(
    predictions: PredictionStore,
    image_id: str,
    label_map: LabelMap,
    names: Iterable[str],
    adapter: str | None,
) -> None:
    """Remember what was answered about a study: a submitted label will correct it.

    Args:
        predictions: where.
        image_id: the study; empty for an image that cannot be submitted here.
        label_map: the answer.
        names: structures that were asked for; what was kept of one without a voxel goes.
        adapter: version that answered.
    """
    if not image_id:
        return
    now = datetime.now(timezone.utc)
    values = {name: value for value, name in label_map.labels.items()}
    try:
        for name in names:
            given = []
            if name in values:
                mask = label_map.voxels == values[name]
                slices = mask.any(axis=(0, 1)).nonzero()[0].tolist()
                given = [GivenMask(name, k, mask[:, :, k], adapter, now) for k in slices]
            predictions.keep_structure(image_id, name, given)
    except (CobotError, OSError) as error:
        logger.warning("An answer was not kept for training: %s", error)


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
