"""Every version of an adapter, one of them active; nothing is lost, and any step can be undone."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from filelock import FileLock

from cobot.adapters.card import AdapterCard
from cobot.adapters.checkpoint import AdapterFile, read_adapter, read_header, write_adapter
from cobot.adapters.config import AdapterConfig
from cobot.atomic import atomic_path
from cobot.errors import AdapterError, CobotError

logger = logging.getLogger(__name__)

_POINTER_NAME = "active.json"
_LOCK_NAME = ".store.lock"
_VERSION = re.compile(r"v(\d{4,})")


@dataclass(frozen=True, slots=True)
class AdapterVersion:
    """One published adapter, without its tensors."""

    name: str
    folder: Path
    config: AdapterConfig
    card: AdapterCard


@final
class AdapterStore:
    """A folder of versions v0001, v0002, … and a pointer to the active one.

    Versions are never changed or deleted. Publishing and activating are atomic and may run in
    several processes at once: a lock orders the writers, and readers see whole versions only.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def publish(self, file: AdapterFile) -> AdapterVersion:
        """Add an adapter as the next version; the active version stays what it was.

        Raises:
            AdapterError: the card's parent is not in this store.
            OSError: the disk refuses; no version is added.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        with self._lock():
            names = self._names()
            if file.card.parent is not None and file.card.parent not in names:
                raise AdapterError(
                    f"Adapter parent {file.card.parent!r} is not in {self._root}, which holds "
                    f"{_range(names)}: publish the parent first, or leave it out."
                )
            last = int(names[-1][1:]) if names else 0
            name = f"v{last + 1:04d}"
            write_adapter(self._root / name, file)
        return self.show(name)

    def versions(self) -> tuple[AdapterVersion, ...]:
        """Return all versions, oldest first; none for a folder that does not exist.

        Damaged ones are left out and logged: one of them must not hide the others.
        """
        found = []
        for name in self._names():
            try:
                found.append(self.show(name))
            except CobotError as error:
                logger.warning("%s is left out: %s", name, error)
        return tuple(found)

    def show(self, name: str) -> AdapterVersion:
        """Return one version.

        Raises:
            AdapterError: there is no such version, or its files are damaged.
        """
        config, card = read_header(self._folder(name))
        return AdapterVersion(name, self._root / name, config, card)

    def read(self, name: str) -> AdapterFile:
        """Return one version with its tensors."""
        return read_adapter(self._folder(name))

    def active(self) -> str | None:
        """Return the active version's name, or None before the first activation."""
        return self._pointer().active

    def activate(self, name: str) -> None:
        """Make a version the active one and remember the one before.

        Raises:
            AdapterError: there is no such version, or its files are damaged: then nothing changes.
        """
        self.read(name)
        with self._lock():
            pointer = self._pointer()
            if pointer.active != name:
                self._write(pointer.after(name))

    def rollback(self) -> str:
        """Make the previously active version active again and return its name.

        Raises:
            AdapterError: none was active before, or it is damaged: then nothing changes.
        """
        with self._lock():
            pointer = self._pointer()
            if not pointer.history:
                raise AdapterError(
                    f"No version was active before {pointer.active or 'now'} in {self._root}: "
                    "choose one with activate."
                )
            previous = pointer.history[-1]
            self.read(previous)
            self._write(replace(pointer, active=previous, history=pointer.history[:-1]))
        return previous

    def _names(self) -> list[str]:
        """Return the versions' names in order of their numbers."""
        if not self._root.is_dir():
            return []
        names = [path.name for path in self._root.iterdir() if _VERSION.fullmatch(path.name)]
        return sorted(names, key=lambda name: int(name[1:]))

    def _folder(self, name: str) -> Path:
        """Return a version's folder; a name that is no version cannot reach outside the store."""
        names = self._names()
        if name not in names:
            raise AdapterError(
                f"Adapter version {name!r} is not in {self._root}, which holds {_range(names)}."
            )
        return self._root / name

    def _pointer(self) -> "_Pointer":
        """Return what the pointer file says."""
        path = self._root / _POINTER_NAME
        if not path.exists():
            return _Pointer(None, ())
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return _Pointer(str(values["active"]), tuple(map(str, values["history"])))
        except (ValueError, KeyError, TypeError) as error:
            raise AdapterError(
                f"{path} is damaged ({error}): delete it and choose a version with activate."
            ) from error

    def _write(self, pointer: "_Pointer") -> None:
        """Replace the pointer file at once."""
        text = json.dumps({"active": pointer.active, "history": list(pointer.history)})
        with atomic_path(self._root / _POINTER_NAME) as partial:
            partial.write_text(text, encoding="utf-8")

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Let one writer in at a time, over processes and threads."""
        with FileLock(self._root / _LOCK_NAME):
            yield


@dataclass(frozen=True, slots=True)
class _Pointer:
    """The active version and those active before it, oldest first."""

    active: str | None
    history: tuple[str, ...]

    def after(self, name: str) -> "_Pointer":
        """Return the pointer once `name` is activated."""
        return _Pointer(name, self.history + ((self.active,) if self.active else ()))


def _range(names: list[str]) -> str:
    """Return the versions there are in a few words."""
    if not names:
        return "no version"
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
