"""The `params` that a client sends beside a file, as text."""

import json
from typing import Any

from fastapi import HTTPException


def read_params(text: str) -> dict[str, Any]:
    """The object in the text; empty text is an empty one.

    Raises:
        HTTPException: 422; the text is not a JSON object.

    >>> read_params('{"label": "spleen"}')
    {'label': 'spleen'}
    """
    try:
        params = json.loads(text or "{}")
    except ValueError as error:
        raise HTTPException(422, f"params is not JSON ({error}); send a JSON object.") from None
    if not isinstance(params, dict):
        raise HTTPException(422, f"params is {text[:40]!r}; send a JSON object.")
    return params


def checked_params(text: str) -> str:
    """The text of an object, for those who read it themselves.

    Raises:
        HTTPException: as for `read_params`.
    """
    return json.dumps(read_params(text))
