"""What clinicians left behind: an image, what the model said, and what it should have said."""

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from cobot.datasets.pairs import IMAGE_SUFFIXES, image_label_pairs
from cobot.errors import ConfigError

FINAL_TAG, PREDICTION_TAG = "final", "original"
"""MONAI Label's names for submitted labels and for a model's own."""

RECORD_NAME = "datastore_v2.json"
"""What MONAI Label writes of the objects of a datastore, into its folder."""


@dataclass(frozen=True, slots=True)
class Correction:
    """One labelled volume.

    Attributes:
        image: the volume's file.
        corrected: its label map, as the clinician left it.
        prediction: the label map the clinician began with, if it was kept.
        adapter_version: the version that made the prediction, if known.
        time: when the correction was made, in UTC, if known.
        names: value and name of each structure in `corrected`, if they were submitted with it;
            empty leaves it to the file and the task.
    """

    image: Path
    corrected: Path
    prediction: Path | None = None
    adapter_version: str | None = None
    time: datetime | None = None
    names: tuple[tuple[int, str], ...] = ()

    @property
    def case(self) -> str:
        """The image's name without suffixes; names the case within a data folder."""
        return strip_suffix(self.image.name)


def find_corrections(folder: Path) -> tuple[Correction, ...]:
    """Every labelled volume of a folder, in the order of their names.

    Two layouts are known: `image_NAME.nii.gz` with `label_NAME.nii.gz` beside it, and a MONAI
    Label datastore: `NAME.nii.gz` with `labels/final/NAME.nii.gz`, and the model's own label in
    `labels/original`, if it was kept. Other suffixes than .nii.gz may be .nii, .nrrd and .mha.
    Hidden files are nobody's.

    Raises:
        ConfigError: the folder is missing, or holds no labelled volume in either layout.
    """
    if (folder / "labels" / FINAL_TAG).is_dir():
        return _from_datastore(folder)
    return tuple(Correction(image, label) for image, label in image_label_pairs(folder))


def strip_suffix(name: str) -> str:
    """A file's name without the suffix of an image format.

    >>> strip_suffix("case.1.nii.gz")
    'case.1'
    """
    for suffix in IMAGE_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _from_datastore(folder: Path) -> tuple[Correction, ...]:
    finals = _by_case(folder / "labels" / FINAL_TAG)
    predictions = _by_case(folder / "labels" / PREDICTION_TAG)
    images = _by_case(folder)
    record = _record(folder)
    lone = sorted(set(finals) - set(images))
    if lone or not finals:
        raise ConfigError(
            f"{folder}: labels/final holds {len(finals)} labels"
            + (f", but no image is called {', '.join(lone[:3])}" if lone else "")
            + "; each label needs an image of its name in the folder."
        )
    return tuple(
        Correction(
            image=images[case],
            corrected=label,
            prediction=predictions.get(case),
            adapter_version=_adapter_version(record, case),
            time=datetime.fromtimestamp(label.stat().st_mtime, timezone.utc),
            names=_names(record, case),
        )
        for case, label in sorted(finals.items())
    )


def _by_case(folder: Path) -> dict[str, Path]:
    """Case to image file, for the files of a folder that may be missing."""
    if not folder.is_dir():
        return {}
    files = [
        path
        for path in sorted(folder.iterdir())
        # macOS lays a hidden file called `._NAME` beside each on a foreign disk.
        if path.name.lower().endswith(IMAGE_SUFFIXES) and not path.name.startswith(".")
    ]
    return {strip_suffix(path.name): path for path in files}


def _record(folder: Path) -> object:
    """What MONAI Label wrote down about its objects; None where it wrote nothing.

    Raises:
        ConfigError: it cannot be read. Without it a label's values could be taken for others.
    """
    path = folder / RECORD_NAME
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} is damaged ({error}). It says which structure a label's values are: restore "
            "it, or delete it if all labels name their structures or use the data set's values."
        ) from error


def _submitted(record: object, case: str, key: str) -> object:
    """What was noted under a key with a submitted label; None if nothing was."""
    found = record
    for step in ("objects", case, "labels", FINAL_TAG, "info", key):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _adapter_version(record: object, case: str) -> str | None:
    """The version noted with a submitted label."""
    found = _submitted(record, case, "adapter_version")
    return found if isinstance(found, str) else None


def _names(record: object, case: str) -> tuple[tuple[int, str], ...]:
    """Value and name of each structure, as noted with a submitted label."""
    found = _submitted(record, case, "label_names")
    pairs = found.items() if isinstance(found, dict) else ()
    return tuple(sorted((value, str(name)) for name, value in pairs if type(value) is int))
