"""Names of cases: safe as a folder's name on every system, different, and the same next time."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

from cobot.io.images import ITK_SUFFIXES, NIFTI_SUFFIXES

LONGEST_BYTES = 150
RESERVED = {"history", "report.html", "manifest.jsonl", "con", "prn", "aux", "nul"}
"""Names that this program or Windows uses for something else."""


def without_suffix(relative: str) -> str:
    """A path without the suffix of an image format.

    >>> without_suffix("ct/a.b.nii.gz")
    'ct/a.b'
    """
    for suffix in (*sorted(NIFTI_SUFFIXES, key=len, reverse=True), *ITK_SUFFIXES):
        if relative.lower().endswith(suffix):
            return relative[: -len(suffix)]
    return relative


def readable(text: str) -> str:
    """A path as text that can be written: bytes that are no UTF-8, as of old shares, shown as �."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def case_name(relative: str, told_by: str = "") -> str:
    """A folder's name for a path.

    Args:
        relative: with "/", which becomes "__".
        told_by: something long that tells neighbours apart; its hash is added.

    >>> case_name("site 1/patient:7")
    'site 1__patient_7'
    """
    shown = readable(relative)
    if shown != relative:
        # Different bytes may be shown alike.
        told_by = told_by or relative
    name = re.sub(r'[<>:"\\|?*\x00-\x1f\x7f]', "_", shown.replace("/", "__"))
    name = re.sub(r"^\.+|[. ]+$", "_", name) or "_"
    if name.lower() in RESERVED:
        name = f"{name}_"
    if told_by:
        return f"{_cut(name)}__{_short(told_by)}"
    return name if len(name.encode()) <= LONGEST_BYTES else f"{_cut(name)}__{_short(relative)}"


def distinct(named: Sequence[tuple[str, str]]) -> list[str]:
    """Names that differ, also for systems that do not tell capitals from small letters.

    Args:
        named: each name, and what tells it from others of that name.
    """
    counts = Counter(name.casefold() for name, _ in named)
    return [
        name if counts[name.casefold()] == 1 else f"{_cut(name)}__{_short(told_by)}"
        for name, told_by in named
    ]


def _cut(name: str) -> str:
    return name.encode()[:LONGEST_BYTES].decode(errors="ignore")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
