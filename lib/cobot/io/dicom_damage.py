"""What pydicom raises over damaged bytes, in the words of the other readers' refusals."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.errors import BytesLengthException, InvalidDicomError

from cobot.errors import CobotError, ImageReadError

DAMAGE = (
    *(InvalidDicomError, BytesLengthException, EOFError, struct.error),
    *(ValueError, TypeError, LookupError, AttributeError, RuntimeError),
)
"""pydicom turns bytes into values when they are asked for, so any of its calls may raise these."""


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn damage into a refusal that names the file.

    Raises:
        ImageReadError: the file is damaged.
    """
    try:
        yield
    except CobotError:
        raise
    except DAMAGE as error:
        raise ImageReadError(
            f"{path} is damaged or cut short ({type(error).__name__}); copy or export it again."
        ) from error
