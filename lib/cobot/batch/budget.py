"""How much memory the volumes of a run may take together."""

import threading
from typing import final

from cobot.errors import ConfigError

UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@final
class MemoryBudget:
    """Bytes that several threads share; who wants more than is left waits.

    One that wants more than the whole budget gets it once nobody else holds any, so that a volume
    of any size is worked on, alone.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Begin with nothing taken."""
        self.limit_bytes = limit_bytes
        self._held = 0
        self._peak = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def peak_bytes(self) -> int:
        """The most that was held at once."""
        return self._peak

    def take(self, amount_bytes: int) -> bool:
        """Wait until the bytes are free and take them; False if the budget was closed meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._fits(amount_bytes))
            if self._closed:
                return False
            self._held += amount_bytes
            self._peak = max(self._peak, self._held)
            return True

    def give_back(self, amount_bytes: int) -> None:
        """Return bytes that were taken."""
        with self._changed:
            self._held -= amount_bytes
            self._changed.notify_all()

    def close(self) -> None:
        """Wake everybody who waits; nothing is given any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _fits(self, amount_bytes: int) -> bool:
        return self._held == 0 or self._held + amount_bytes <= self.limit_bytes


def read_bytes(text: str) -> int:
    """Bytes as a user writes them: "4G", "800M", "1.5 GB".

    Raises:
        ConfigError: not a positive number with such a unit.

    >>> read_bytes("1.5 GiB")
    1610612736
    """
    plain = text.strip().lower().removesuffix("b").removesuffix("i").strip()
    unit = plain[-1:] if plain[-1:].isalpha() else ""
    try:
        amount = float(plain.removesuffix(unit)) * UNITS[unit]
        whole = int(amount)
    except (ValueError, KeyError, OverflowError):
        whole = 0
    if whole <= 0:
        raise ConfigError(
            f"--max-memory {text!r} cannot be read; expected a size such as 800M, 4G or 1.5G."
        )
    return whole
