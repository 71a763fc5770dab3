"""Which cases are learnt from and which only measured: decided once for each case, and kept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from cobot.atomic import atomic_path
from cobot.errors import ConfigError

FEWEST_CASES = 3
"""Below it nothing can be held back and something still be learnt."""


@dataclass(frozen=True, slots=True)
class SplitCase:
    """A case as the split sees it.

    Attributes:
        name: of the case.
        image_sha256: of its image file.
        labelled: whether it has any of the structures, without which there is nothing to measure.
        patient: whose study it is, where several cases may be of one; empty if that is not known.
    """

    name: str
    image_sha256: str
    labelled: bool = True
    patient: str = ""

    @property
    def origin(self) -> str:
        """The patient, or else the image: cases of one origin count once."""
        return self.patient or self.image_sha256

    @property
    def bonds(self) -> tuple[str, ...]:
        """What it must not share with a case on the other side; nothing that is empty."""
        bonds = (("image", self.image_sha256), ("patient", self.patient))
        return tuple(f"{kind} {value}" for kind, value in bonds if value)


@dataclass(frozen=True, slots=True)
class Split:
    """Two sides of a data set, by case.

    Attributes:
        train: cases to learn from.
        validation: cases to measure on; those of `train` when nothing could be held back.
        note: what is unusual about it, in one sentence for the user; empty if nothing is.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    note: str = ""

    @property
    def held_out(self) -> bool:
        """Whether measured cases are unseen ones."""
        return not set(self.train) & set(self.validation)


def split_cases(cases: Sequence[SplitCase], fraction: float, record: Path) -> Split:
    """Split cases and remember it: a case that was split before stays on its side.

    A case is known again by the content of its image, or by its name; copies of one image, and
    studies of one patient, lie on one side. New cases that have a structure fill the validation
    side up to the wanted fraction (at least one, as long as one stays to learn from), in the order
    of their hashes, which is as good as chance and the same for everyone. With fewer than 3 cases
    all are trained on.

    Args:
        cases: all cases there are now; those of the record that are gone keep their sides.
        fraction: of the cases to hold back, in (0, 1).
        record: JSON file of the sides, made or added to.

    Raises:
        ConfigError: the fraction is out of range, names repeat, or the record is damaged.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"The validation fraction {fraction} must lie between 0 and 1.")
    require_single_names(cases)
    record.parent.mkdir(parents=True, exist_ok=True)
    # Two trainings that begin at once must not each put the same case on another side.
    with FileLock(record.with_name(f".{record.name}.lock")):
        known = _read(record)
        sides = _decide(cases, fraction, known)
        _write(record, known, cases, sides)
    return _as_split(cases, sides)


def _decide(
    cases: Sequence[SplitCase], fraction: float, known: Sequence[Mapping[str, str]]
) -> dict[str, str]:
    """The side of each case: as it was, or by its bonds, or as many as are wanted held back."""
    sides = {case.name: side for case in cases if (side := _known_side(case, known))}
    fresh = sorted(
        (case for case in cases if case.name not in sides),
        key=lambda case: (case.image_sha256, case.name),
    )
    wanted = _to_hold_back(cases, sides, fraction)
    bound = {bond: sides[one.name] for one in cases if one.name in sides for bond in one.bonds}
    for case in fresh:
        takes = wanted > 0 and case.labelled
        side = next((bound[bond] for bond in case.bonds if bond in bound), None)
        sides[case.name] = side or ("validation" if takes else "train")
        bound |= dict.fromkeys(case.bonds, sides[case.name])
        wanted -= sides[case.name] == "validation"
    return sides


def _to_hold_back(cases: Sequence[SplitCase], sides: Mapping[str, str], fraction: float) -> int:
    """How many new cases the validation side wants; one that can be learnt from always stays."""
    if len(cases) < FEWEST_CASES:
        return 0
    held = sum(one.labelled and sides.get(one.name) == "validation" for one in cases)
    free = {one.origin for one in cases if one.labelled and sides.get(one.name) != "validation"}
    return min(max(1, round(fraction * len(cases))) - held, len(free) - 1)


def read_manifest(path: Path, cases: Sequence[SplitCase]) -> Split:
    """A split as a file states it: JSON with `train` and `validation`, lists of case names.

    A name may be the case's, or what follows `image_` in it; cases in neither list are left out.

    Raises:
        ConfigError: the file cannot be read so, a side is empty, or a case is on both or unknown.
    """
    require_single_names(cases)
    try:
        lists = json.loads(path.read_text(encoding="utf-8"))
        stated = {side: [str(name) for name in lists[side]] for side in ("train", "validation")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--split {path} cannot be read ({error}); expected JSON such as "
            '{"train": ["01", "02"], "validation": ["03"]}.'
        ) from error
    names = {case.name: case.name for case in cases}
    names |= {case.name.removeprefix("image_"): case.name for case in cases}
    unknown = [name for side in stated.values() for name in side if name not in names]
    train, validation = (tuple(names[n] for n in stated[s] if n in names) for s in stated)
    both = sorted(set(train) & set(validation))
    if unknown or both or not train or not validation:
        raise ConfigError(
            f"--split {path}: unknown cases {unknown[:3]}, on both sides {both[:3]}, "
            f"{len(train)} for training and {len(validation)} for validation; each side needs "
            "cases of the data folder, each once."
        )
    bonds = {case.name: case.bonds for case in cases}
    learnt = {bond: name for name in train for bond in bonds[name]}
    twice = [(bond, name) for name in validation for bond in bonds[name] if bond in learnt]
    if twice:
        bond, name = twice[0]
        raise ConfigError(
            f"--split {path}: {learnt[bond]!r} and {name!r} are of the same {bond.split()[0]}, one "
            "to learn from and one to measure on; leave one of them out."
        )
    left = len(cases) - len(train) - len(validation)
    note = f"{left} case(s) are on neither side of the split and not used." if left else ""
    return Split(train, validation, note)


def require_single_names(cases: Sequence[SplitCase]) -> None:
    """Refuse two cases of one name.

    Raises:
        ConfigError: names the first of them.
    """
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"Two images are called {twice[0]!r} but for their suffix; rename one.")


def _as_split(cases: Sequence[SplitCase], sides: Mapping[str, str]) -> Split:
    names = [case.name for case in cases]
    train = tuple(name for name in names if sides[name] == "train")
    validation = tuple(name for name in names if sides[name] == "validation")
    if train and validation:
        return Split(train, validation)
    if train:
        origins = {case.origin for case in cases if case.labelled}
        note = (
            f"{len(origins)} labelled image(s) are too few to hold one back: all are trained on, "
            "the Dice is of the training cases themselves, and training does not stop early."
        )
        return Split(train, train, note)
    raise ConfigError(
        f"All {len(validation)} cases here are validation cases from earlier on; add new cases."
    )


def _known_side(case: SplitCase, known: Sequence[Mapping[str, str]]) -> str | None:
    """Where a case was put before; the image's content counts before its name."""
    for key, value in (("image_sha256", case.image_sha256), ("name", case.name)):
        for entry in known:
            if entry[key] == value:
                return entry["side"]
    return None


def _read(record: Path) -> list[dict[str, str]]:
    if not record.exists():
        return []
    try:
        entries = json.loads(record.read_text(encoding="utf-8"))["cases"]
        return [
            {key: str(entry[key]) for key in ("name", "image_sha256", "side")} for entry in entries
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{record} is damaged ({error}). It says which cases were held back; restore it, since "
            "a new split would measure on cases that were trained on."
        ) from error


def _write(
    record: Path,
    known: Sequence[Mapping[str, str]],
    cases: Sequence[SplitCase],
    sides: Mapping[str, str],
) -> None:
    """Add what is new; entries are never changed or removed."""
    listed = {(entry["name"], entry["image_sha256"]) for entry in known}
    added = [
        {"name": case.name, "image_sha256": case.image_sha256, "side": sides[case.name]}
        for case in cases
        if (case.name, case.image_sha256) not in listed
    ]
    if not added:
        return
    with atomic_path(record) as temporary:
        temporary.write_text(json.dumps({"cases": [*known, *added]}, indent=2), encoding="utf-8")
