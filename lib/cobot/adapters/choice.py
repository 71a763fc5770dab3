"""The adapter a user means: a folder of its own, or a version in a store."""

from pathlib import Path

from cobot.adapters.checkpoint import TENSORS_NAME, AdapterFile, read_adapter
from cobot.adapters.store import AdapterStore
from cobot.errors import AdapterError

ACTIVE = "active"


def open_adapter(place: Path, version: str = ACTIVE) -> AdapterFile:
    """Read an adapter.

    Args:
        place: an adapter's folder, or a store's.
        version: of a store: a name such as "v0003", or "active"; an adapter's own folder has none.

    Raises:
        AdapterError: there is no such folder or version, a store has none active, or the files are
            damaged.
    """
    if (place / TENSORS_NAME).is_file():
        return read_adapter(place)
    if not place.is_dir():
        raise AdapterError(
            f"There is no adapter at {place}: give a folder that holds {TENSORS_NAME}, or the "
            "folder of a store."
        )
    store = AdapterStore(place)
    name = store.active() if version == ACTIVE else version
    if name is None:
        raise AdapterError(
            f"No adapter version is active in {place}, which holds "
            f"{', '.join(one.name for one in store.versions()) or 'none'}: activate one with "
            "`cobot adapters activate`, or name it."
        )
    return store.read(name)
