"""Names a client may give to images, tags and files: nothing that leads out of a folder."""

import re

from fastapi import HTTPException

SAFE = re.compile(r"[\w(][\w .,+=()\[\]-]{0,199}")
"""Starts with a letter of any alphabet, a digit, `_` or `(`; no slash, no control character."""


def require_safe_name(what: str, name: str) -> str:
    """Return the name, or refuse it as the client's mistake.

    Args:
        what: what it names, for the message: image, tag, label.
        name: as the client sent it.

    Raises:
        HTTPException: 422; the name is empty, longer than 200, holds a slash or `..`, or starts
            with a dot.

    >>> require_safe_name("image", "spleen_8 (1)")
    'spleen_8 (1)'
    """
    if not SAFE.fullmatch(name) or ".." in name:
        raise HTTPException(
            422,
            f"{what} {name[:80]!r} is not a usable name; use letters, digits, spaces and any of "
            "_ - . , + = ( ) [ ], without '..', up to 200 characters. In Slicer rename the volume.",
        )
    return name
