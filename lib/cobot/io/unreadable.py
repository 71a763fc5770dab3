"""What the operating system refuses, in the words of the other readers' refusals."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cobot.errors import ImageReadError


@contextmanager
def named_refusals(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into one that names the file and the cure.

    Raises:
        ImageReadError: a file may not be read, is gone since it was found, or its disk fails.
    """
    try:
        yield
    except PermissionError as error:
        raise ImageReadError(
            f"{error.filename or path} may not be read by this user; change its permissions."
        ) from error
    except FileNotFoundError as error:
        raise ImageReadError(
            f"{error.filename or path} is gone since it was found; was it moved or deleted "
            "meanwhile? Put it back, or run again without it."
        ) from error
    except OSError as error:
        raise ImageReadError(
            f"{error.filename or path} cannot be read ({error.strerror or error}); look at its "
            "disk or network share, and try again."
        ) from error
