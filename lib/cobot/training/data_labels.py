"""What the values in a folder's label files mean, and a task that is named accordingly.

Two public data sets give one value to different organs. Training by value alone would then learn
wrong names without a word, so values are used only where somebody said what they mean: the label
files themselves, a file beside them, or the user.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cobot.atomic import atomic_path
from cobot.datasets.plain_names import plain_name
from cobot.errors import ConfigError
from cobot.intensity import FixedWindow, looks_like_ct
from cobot.io import read_label_map, read_volume
from cobot.training.corrections import Correction
from cobot.training.task import TrainingTask

DESCRIPTIONS = ("dataset.json", "manifest.json")
"""Read in the data folder, and the second also in the folder above, under the folder's name."""

COMMAND = "cobot train ..."


@dataclass(frozen=True, slots=True)
class StatedLabels:
    """What is said of a folder's label values.

    Attributes:
        labels: value to name, without background.
        source: who says so: a file, or a label file's own header.
        in_files: whether the label files themselves say so; they are then read by name.
        split: `train` and `validation` to case names, if that is stated too.
    """

    labels: Mapping[int, str]
    source: str
    in_files: bool = False
    split: Mapping[str, list[str]] | None = None


def stated_labels(
    folder: Path, example: Correction, others: Sequence[Correction] = ()
) -> StatedLabels | None:
    """What is said of the label values of a data folder; None if nobody says anything.

    Looked for in this order: names that were submitted with a label of the folder, of which each
    file has values of its own; names in the header of a label file; `dataset.json` as the Medical
    Segmentation Decathlon and nnU-Net write it; `manifest.json` with `labels`, and optionally
    `split`, in the folder, or above it under the folder's name.

    Raises:
        ConfigError: such a file is damaged.
    """
    submitted = [name for one in (example, *others) for _, name in one.names]
    if submitted:
        every = dict(enumerate(dict.fromkeys(submitted), 1))
        return StatedLabels(every, "the labels as submitted", in_files=True)
    names = read_label_map(example.corrected).labels
    real = {value: name for value, name in names.items() if name != f"label_{value}"}
    if real:
        return StatedLabels(real, example.corrected.name, in_files=True)
    for path in (*(folder / name for name in DESCRIPTIONS), folder.parent / DESCRIPTIONS[1]):
        if path.is_file() and (found := _described(path, folder.name)):
            return found
    return None


def named_task(
    task: TrainingTask, stated: StatedLabels | None, command: str = COMMAND
) -> TrainingTask:
    """A data set's task with the names that hold for a folder; windows and plane are kept.

    Args:
        task: of a catalogued data set.
        stated: what is said of the folder's values.
        command: as the user typed it, for the message.

    Raises:
        ConfigError: nobody says what the values mean, or the files name none of the task's
            structures; the message ends with the command that settles it.
    """
    if stated is None:
        raise ConfigError(
            f"Nobody says what the label values of this folder mean: the files carry no names, and "
            f"there is no {' or '.join(DESCRIPTIONS)}. If they are those of {task.name!r}, say so; "
            f"otherwise change the names:\n  {command} {labels_option(task.labels)}"
        )
    if not stated.in_files:
        return relabelled(task, stated.labels)
    require_known_names(task, stated, command)
    return task


def require_known_names(
    task: TrainingTask, stated: StatedLabels | None, command: str = COMMAND
) -> None:
    """Refuse label files whose own names are all others than the task's.

    Raises:
        ConfigError: ends with the command that names the labels as the files do.
    """
    if stated is None or not stated.in_files:
        return
    wanted = {plain_name(name) for name in task.labels.values()}
    if not wanted & {plain_name(name) for name in stated.labels.values()}:
        raise ConfigError(
            f"{stated.source} names its labels {_listed(stated.labels)}; none is one of "
            f"{', '.join(task.labels.values())} of task {task.name!r}. To learn what the files "
            f"name:\n  {command} {labels_option(stated.labels)}"
        )


def relabelled(task: TrainingTask, labels: Mapping[int, str]) -> TrainingTask:
    """The task with other labels; each keeps its window, a new one gets that of all if all agree.

    Raises:
        ConfigError: a name is there twice, or there is none.
    """
    old = {plain_name(name): rule for name, rule in task.windows.items()}
    common = set(old.values())
    shared = common.pop() if len(common) == 1 else None
    windows = {name: old.get(plain_name(name), shared) for name in labels.values()}
    known = {name: rule for name, rule in windows.items() if rule is not None}
    return replace(task, labels=dict(labels), windows=known)


def fits_windows(task: TrainingTask, example: Correction) -> bool:
    """Whether the task's windows are made for such images: Hounsfield units need a CT."""
    if not any(isinstance(rule, FixedWindow) for rule in task.windows.values()):
        return True
    return looks_like_ct(read_volume(example.image))


def write_split(split: Mapping[str, list[str]], path: Path) -> Path:
    """A stated split as `read_manifest` reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(dict(split), indent=2), encoding="utf-8")
    return path


def labels_option(labels: Mapping[int, str]) -> str:
    """The option as a user types it.

    >>> labels_option({1: "liver", 2: "right kidney"})
    '--labels "1=liver,2=right kidney"'
    """
    return f'--labels "{_listed(labels)}"'


def _listed(labels: Mapping[int, str]) -> str:
    return ",".join(f"{value}={name}" for value, name in sorted(labels.items()))


def _described(path: Path, folder: str) -> StatedLabels | None:
    """What one description says of a folder; None if it says nothing of it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entry = content.get(folder, content)
        if "labels" not in entry:
            return None
        return StatedLabels(_labels(entry["labels"]), str(path), split=_split(entry.get("split")))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}); expected JSON with a table of labels such as "
            '{"labels": {"1": "liver", "2": "spleen"}}. Mend it, or move it away and use --labels.'
        ) from error


def _labels(table: Mapping[str, object]) -> dict[int, str]:
    """Value to name, from either way round: {"1": "liver"} or nnU-Net's {"liver": 1}."""
    pairs = [
        (int(key), str(other)) if key.isdigit() else (int(str(other)), key)
        for key, other in table.items()
    ]
    labels = {value: name for value, name in pairs if value > 0}
    if len(labels) < sum(value > 0 for value, _ in pairs):
        raise ValueError("a value has two names")
    return labels


def _split(table: object) -> Mapping[str, list[str]] | None:
    if not isinstance(table, Mapping) or not {"train", "validation"} <= set(table):
        return None
    return {side: [str(name) for name in table[side]] for side in ("train", "validation")}
