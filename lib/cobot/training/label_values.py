"""From the values in a label file to those of the task."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cobot.datasets.plain_names import plain_name
from cobot.errors import ConfigError
from cobot.io import read_label_map
from cobot.shapes import LabelVoxels
from cobot.volume import Volume


def read_task_labels(
    path: Path,
    labels: Mapping[int, str],
    volume: Volume,
    names: Mapping[int, str] | None = None,
    may_lack: bool = False,
) -> LabelVoxels:
    """A label map in the task's values; other structures are background.

    A file that carries names of the task is read by name, any other by value. Names are compared
    as people mean them: see `plain_name`.

    Args:
        path: the label file.
        labels: the task's value to name.
        volume: the image; the labels must lie on its grid.
        names: value to name as known from elsewhere; then the file is read by these alone, and
            holding none of the task's structures is no error.
        may_lack: it is none without such names either.

    Raises:
        ImageReadError: the file cannot be read as labels.
        GridMismatchError: it lies on another grid.
        ConfigError: it holds structures, but none of the task's.
    """
    found = read_label_map(path).on_grid_of(volume)
    known = names or found.labels
    by_name = {plain_name(name): value for value, name in labels.items()}
    named = {
        value: by_name[plain_name(name)]
        for value, name in known.items()
        if plain_name(name) in by_name
    }
    mapping = named or ({} if names else {value: value for value in labels})
    values = {int(value) for value in np.unique(found.voxels)} - {0}
    if values and not values & set(mapping) and not (names or may_lack):
        held = ", ".join(f"{value} ({found.labels[value]})" for value in sorted(values)[:5])
        raise ConfigError(
            f"{path.name} holds {held}, but none of the task's labels "
            f"{', '.join(f'{value}={name}' for value, name in sorted(labels.items())[:5])}; "
            "name the labels of this data with --dataset 1=liver,2=spleen."
        )
    table = np.zeros(max([*values, 0]) + 1, np.uint16)
    for value, target in mapping.items():
        if value < len(table):
            table[value] = target
    return table[found.voxels]
