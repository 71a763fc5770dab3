"""Names a client gives: of images, tags and structures."""

import re
from collections.abc import Mapping, Sequence

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


def unknown_image(image_id: str) -> str:
    """What to tell a client that names an image this server does not have."""
    return (
        f"No image is called {image_id[:80]!r} here; press Next Sample in Slicer, or upload the "
        "volume first."
    )


def label_names(label_info: object) -> Mapping[str, Mapping[str, int]]:
    """Name to value as Slicer exported it: by rank in `label_info`, whose `idx` may be off by one.

    Raises:
        HTTPException: 422; two structures have one name.

    >>> label_names([{"name": "spleen", "idx": 2}, {"name": "liver", "idx": 3}])
    {'label_names': {'spleen': 1, 'liver': 2}}
    >>> label_names(None)
    {}
    """
    if not isinstance(label_info, Sequence) or not label_info:
        return {}
    values: dict[str, int] = {}
    # What has no name still has a value in the file.
    for rank, item in enumerate(label_info, start=1):
        name = str(item.get("name") or "") if isinstance(item, dict) else ""
        if name in values:
            raise HTTPException(
                422,
                f"Two segments are called {name[:80]!r}, so nobody could tell what each outlines; "
                "rename or merge one of them in Slicer and submit again.",
            )
        if name:
            values[name] = rank
    return {"label_names": values}
