"""Which of the submitted labels a trainer can learn from, and what it leaves alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cobot.datasets.plain_names import plain_name
from cobot.errors import ConfigError
from cobot.training.corrections import Correction, find_corrections
from cobot.training.split import FEWEST_CASES


@dataclass(frozen=True, slots=True)
class TrainingCases:
    """A look at the labels by their names, before a voxel of them is read.

    Attributes:
        used: cases that name a structure of the task, or name none, so that values count.
        left_out: cases that name other structures alone.
        unknown: structures, as submitted, that the task does not know.
    """

    used: tuple[str, ...]
    left_out: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left alone, each a sentence for the user; no case is named."""
        notes = []
        if self.left_out:
            notes.append(f"{len(self.left_out)} labelled study(ies) hold none of the structures.")
        if self.unknown:
            notes.append(f"Not learnt, since this trainer does not know them: {_few(self.unknown)}")
        return tuple(notes)


def training_cases(studies: Path, labels: Mapping[int, str]) -> TrainingCases:
    """Sort the labelled studies of a folder for a task.

    Args:
        studies: a MONAI Label datastore.
        labels: the task's value to name.

    Raises:
        ConfigError: fewer studies than a training and an honest measurement need, or the
            datastore's record is damaged.
    """
    corrections = _submitted(studies)
    known = {plain_name(name) for name in labels.values()}
    used = tuple(one.case for one in corrections if not one.names or _names(one) & known)
    left_out = tuple(one.case for one in corrections if one.case not in used)
    submitted = {name for one in corrections for _, name in one.names}
    unknown = tuple(sorted(name for name in submitted if plain_name(name) not in known))
    cases = TrainingCases(used, left_out, unknown)
    if len(used) < FEWEST_CASES:
        raise ConfigError(_too_few(cases, labels))
    return cases


def _submitted(studies: Path) -> Sequence[Correction]:
    """The final labels; none where none was submitted yet."""
    final = studies / "labels" / "final"
    if not final.is_dir() or not any(final.iterdir()):
        return ()
    return find_corrections(studies)


def _names(correction: Correction) -> set[str]:
    return {plain_name(name) for _, name in correction.names}


def _too_few(cases: TrainingCases, labels: Mapping[int, str]) -> str:
    wanted = _few(tuple(labels.values())).rstrip(".")
    other = f" ({' '.join(cases.notes)})" if cases.notes else ""
    return (
        f"Training needs {FEWEST_CASES} labelled studies, so that one can be held back to measure "
        f"on; {len(cases.used)} with {wanted} were submitted{other}. Submit "
        f"{FEWEST_CASES - len(cases.used)} more, with segments of these names."
    )


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"{', '.join(names[:6])}{more}."
