"""Which adapter version the server answers with: the active one, a stated one, or none."""

from pathlib import Path
from typing import Protocol, final, runtime_checkable

from cobot.adapters.checkpoint import AdapterFile
from cobot.adapters.choice import ACTIVE
from cobot.adapters.store import AdapterStore

NO_ADAPTER = "none"
DATA_FOLDER = ".cobot"
"""In a folder of studies, for what the server keeps beside images and labels.

MONAI Label takes files directly in the studies folder for images, and folders in `labels` for tags;
it looks into no other folder.
"""


def default_store(studies: Path, model: str) -> Path:
    """Where versions lie unless the user says otherwise: apart for each encoder.

    An adapter fits one encoder; in one store another model's active version would be in the way.

    >>> default_store(Path("ct"), "tiny").as_posix()
    'ct/.cobot/adapters/tiny'
    """
    return studies / DATA_FOLDER / "adapters" / model


@runtime_checkable
class AdapterSource(Protocol):
    """Says before each answer which version is wanted."""

    @property
    def required(self) -> bool:
        """Whether answering with another version is worse than not answering."""
        ...

    def wanted(self) -> str | None:
        """The version's name; None is the base alone.

        Raises:
            AdapterError: it cannot be told.
        """
        ...

    def read(self, version: str) -> AdapterFile:
        """The version itself.

        Raises:
            AdapterError: there is no such version, or it is damaged.
        """
        ...

    def folder(self, version: str) -> Path:
        """Where the version's files lie, and what was learnt on top of it.

        Raises:
            AdapterError: there is no such version, or it is damaged.
        """
        ...


@final
class FollowedStore:
    """A store's active version, whatever it is at the moment; or always the same one, or none."""

    def __init__(self, store: Path, choice: str = ACTIVE) -> None:
        """Follow a store, which need not exist yet.

        Args:
            store: folder of versions.
            choice: "active", "none", or a version's name.
        """
        self._store = AdapterStore(store)
        self._choice = choice

    @property
    def required(self) -> bool:
        """A version that the user named is; the active one is not."""
        return self._choice not in (ACTIVE, NO_ADAPTER)

    def wanted(self) -> str | None:
        """As `AdapterSource`; reads one small file."""
        if self._choice == ACTIVE:
            return self._store.active()
        return None if self._choice == NO_ADAPTER else self._choice

    def read(self, version: str) -> AdapterFile:
        """As `AdapterSource`."""
        return self._store.read(version)

    def folder(self, version: str) -> Path:
        """As `AdapterSource`."""
        return self._store.show(version).folder


@final
class BaseAlone:
    """No adapter, ever."""

    required = False

    def wanted(self) -> str | None:
        """As `AdapterSource`."""
        return None

    def read(self, version: str) -> AdapterFile:
        """Never asked."""
        raise AssertionError(version)

    def folder(self, version: str) -> Path:
        """Never asked."""
        raise AssertionError(version)
