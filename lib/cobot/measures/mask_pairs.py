"""Predictions and truths that belong together: by file name, on one grid."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cobot.errors import ConfigError, GridMismatchError
from cobot.io import read_grid
from cobot.training.corrections import FINAL_TAG
from cobot.volume import LabelMap, corners_apart_mm, grid_difference

MASK_SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
PREFIXES = ("label_", "image_")
"""What a case's name is written behind; of a folder that has both kinds, labels are taken."""

SAME_MM = 1e-3
"""Corners nearer than this are one: the rounding of affines stored as float32."""


@dataclass(frozen=True, slots=True)
class MaskPair:
    """A prediction and its truth."""

    case: str
    prediction: Path
    truth: Path


@dataclass(frozen=True, slots=True)
class MaskPairs:
    """What of two places belongs together, and what stands alone.

    Attributes:
        pairs: in the order of their names.
        missing: truths without a prediction.
        extra: predictions without a truth.
    """

    pairs: Sequence[MaskPair]
    missing: Sequence[str]
    extra: Sequence[str]


def pair_masks(prediction: Path, truth: Path) -> MaskPairs:
    """Pair two files, or the files of two folders that are named for the same case.

    Raises:
        ConfigError: a folder is missing or holds no mask, a case is there twice, one is a file and
            the other a folder, or nothing fits together.
    """
    if prediction.is_file() and truth.is_file():
        return MaskPairs([MaskPair(case_name(prediction), prediction, truth)], [], [])
    if prediction.is_file() or truth.is_file():
        raise ConfigError(
            f"{prediction} and {truth}: one is a file, the other is not; give two files or two "
            "folders."
        )
    return pair_cases(mask_files(prediction), mask_files(truth), truth)


def pair_cases(found: Mapping[str, Path], true: Mapping[str, Path], truth: Path) -> MaskPairs:
    """Pair predictions and truths by the names of their cases.

    Args:
        found: case to prediction.
        true: case to truth.
        truth: where the truths are, for the message.

    Raises:
        ConfigError: no case is in both.
    """
    common = sorted({*found} & {*true})
    if not common:
        raise ConfigError(
            f"No prediction and truth have the same name: predictions are {_some(found)}; {truth} "
            f"has {_some(true)}. Name both files for their case; suffixes and the beginnings "
            f"{' and '.join(PREFIXES)} do not count."
        )
    return MaskPairs(
        pairs=[MaskPair(case, found[case], true[case]) for case in common],
        missing=sorted({*true} - {*found}),
        extra=sorted({*found} - {*true}),
    )


def mask_files(folder: Path) -> dict[str, Path]:
    """Case to label file of a folder, or of the final labels of a MONAI Label datastore.

    Raises:
        ConfigError: the folder is missing, has no label file, or has two of one case.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} does not exist; give a folder of masks, or two files.")
    final = folder / "labels" / FINAL_TAG
    place = final if final.is_dir() else folder
    files = [path for path in sorted(place.iterdir()) if path.name.lower().endswith(MASK_SUFFIXES)]
    files = [path for path in files if path.is_file() and not path.name.startswith(".")]
    labels = [path for path in files if path.name.startswith(PREFIXES[0])]
    cases: dict[str, Path] = {}
    for path in labels or files:
        other = cases.setdefault(case_name(path), path)
        if other != path:
            raise ConfigError(
                f"{place} holds two masks of case {case_name(path)!r}: {other.name} and "
                f"{path.name}; move one of them away."
            )
    if not cases:
        raise ConfigError(
            f"{place} holds no mask; expected files that end in {', '.join(MASK_SUFFIXES)}."
        )
    return cases


def case_name(path: Path) -> str:
    """What a mask's or image's file says of its case.

    >>> case_name(Path("labels/label_case_07.nii.gz")), case_name(Path("case_07.seg.nrrd"))
    ('case_07', 'case_07')
    """
    name = path.name
    for suffix in MASK_SUFFIXES:
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def require_one_grid(prediction: Path, truth: Path) -> None:
    """Refuse two files on different grids, before anything else of them is read.

    The order and direction of their axes may differ; see `LabelMap.on_grid_of`.

    Raises:
        GridMismatchError: names both and what differs.
        ImageReadError: one cannot be read.
    """
    found, true = read_grid(prediction), read_grid(truth)
    turned = LabelMap(found.voxels, found.affine).turned_onto(true.affine)
    if turned.voxels.shape != true.shape or corners_apart_mm(turned, true) > SAME_MM:
        raise GridMismatchError(
            f"{prediction} and {truth} are on different grids: {grid_difference(turned, true)}. "
            "Nothing is resampled here; export the mask on the grid of its image."
        )


def _some(cases: Iterable[str]) -> str:
    names = sorted(cases)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
