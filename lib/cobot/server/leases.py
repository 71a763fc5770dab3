"""Who is at which case: what one annotator was given is not handed to another for a while."""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import final

from cobot.atomic import atomic_path
from cobot.errors import ImageWriteError

RENEW_S = 60.0
"""The least that a renewal adds, so that not every click writes a file."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lease:
    """One case in one annotator's hands.

    Attributes:
        holder: hash of who has it.
        ends_s: until when, in seconds since 1970; at that second it has ended.
        seconds: how long it was given for; 0, if that is not known, renews nothing.
    """

    holder: str
    ends_s: float
    seconds: float = 0.0


@final
class Leases:
    """A case has one holder at most; a lease ends with its time, or when `release` is called.

    Its holder's work, told by `renew`, begins the time anew.

    They are written to a file at once, so a server that is started again knows them. Names of
    images and annotators are hashed there. May be shared by threads; of one folder of studies one
    server at a time keeps leases.
    """

    def __init__(self, file: Path | None, clock: Callable[[], float] = time.time) -> None:
        """Take up the leases of a file, if there is one.

        Args:
            file: where they are kept; a damaged one is taken for none. None: in memory alone.
            clock: seconds since 1970.
        """
        self._file, self._clock = file, clock
        self._lock = threading.Lock()
        self._held = _read(file) if file else {}

    def take(self, image_id: str, holder: str, seconds: float) -> Lease:
        """Give a case to an annotator from now on, whoever had it."""
        lease = Lease(_hashed(holder), self._clock() + seconds, seconds)
        with self._lock:
            self._held[_hashed(image_id)] = lease
            self._write()
        return lease

    def renew(self, image_id: str, holder: str) -> None:
        """Begin the time of a lease anew: its holder is at work on the case.

        What somebody else has, or what has ended, stays as it is.
        """
        at, now = _hashed(image_id), self._clock()
        with self._lock:
            lease = self._held.get(at)
            if lease is None or lease.holder != _hashed(holder) or lease.ends_s <= now:
                return
            ends_s = now + lease.seconds
            if ends_s - lease.ends_s >= min(RENEW_S, lease.seconds / 2) > 0:
                self._held[at] = replace(lease, ends_s=ends_s)
                self._write()

    def release(self, image_id: str) -> None:
        """End a lease, if there is one: the case was submitted."""
        with self._lock:
            if self._held.pop(_hashed(image_id), None) is not None:
                self._write()

    def free(self, images: Iterable[str]) -> list[str]:
        """Those of some cases that nobody has."""
        held = self._valid()
        return [one for one in images if _hashed(one) not in held]

    def held_by(self, holder: str, images: Iterable[str]) -> list[str]:
        """Those of some cases that one annotator has, the last taken first."""
        held, who = self._valid(), _hashed(holder)
        mine = [(lease.ends_s, one) for one in images if (lease := held.get(_hashed(one)))]
        return [one for _, one in sorted(mine, reverse=True) if held[_hashed(one)].holder == who]

    def first_end_s(self, images: Iterable[str]) -> float | None:
        """When the next lease of some cases ends; None if nobody has any."""
        held = self._valid()
        return min((held[at].ends_s for at in map(_hashed, images) if at in held), default=None)

    def _valid(self) -> dict[str, Lease]:
        now = self._clock()
        with self._lock:
            self._held = {at: one for at, one in self._held.items() if now < one.ends_s}
            return dict(self._held)

    def _write(self) -> None:
        """Failing at it loses what a restart would know, never an annotator's case."""
        if self._file is None:
            return
        content = {image: asdict(lease) for image, lease in self._held.items()}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(self._file) as partial:
                partial.write_text(json.dumps(content), encoding="utf-8")
        except (ImageWriteError, OSError) as error:
            logger.warning("Who is at which case was not written down: %s", error)


def _read(file: Path) -> dict[str, Lease]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {
            str(at): Lease(str(one["holder"]), float(one["ends_s"]), float(one.get("seconds", 0.0)))
            for at, one in content.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        logger.warning("%s is damaged; who is at which case is not known any more.", file.name)
        return {}


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]
