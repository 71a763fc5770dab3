"""What made a segmentation, as DICOM objects name it."""

from dataclasses import dataclass

import cobot

MAKER = "SAM-COBOT"
LONG_STRING = 64
"""How many characters DICOM's LO takes."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """The program and the adapter behind a segmentation.

    Attributes:
        adapter: name and version of the adapter; empty for the base model alone.
        automatic: no prompt of a person was used.
        version: of this program.
    """

    adapter: str = ""
    automatic: bool = False
    version: str = cobot.__version__

    @property
    def name(self) -> str:
        """Program and adapter in one line of DICOM's length."""
        return long_string(f"{MAKER} {self.adapter}" if self.adapter else MAKER)


def long_string(text: str) -> str:
    r"""Text as DICOM's LO: no backslash, which separates values, and 64 characters.

    >>> long_string("left\\right")
    'left/right'
    >>> len(long_string("x" * 100))
    64
    """
    return text.replace("\\", "/").strip()[:LONG_STRING].strip()


def unique_long_strings(texts: list[str]) -> list[str]:
    """Texts as LO, told apart by a number where the first 64 characters are the same.

    >>> [text[-3:] for text in unique_long_strings(["x" * 70, "x" * 80, "y"])]
    ['xxx', 'x~2', 'y']
    """
    short: list[str] = []
    for text in texts:
        candidate, number = long_string(text), 1
        while candidate in short:
            number += 1
            mark = f"~{number}"
            candidate = long_string(text)[: LONG_STRING - len(mark)] + mark
        short.append(candidate)
    return short
