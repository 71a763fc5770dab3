"""Which studies of a prepared folder are of one patient."""

import json
from collections.abc import Mapping
from pathlib import Path

from cobot.errors import DatasetError

_SUFFIX = ".nii.gz"


def patients(studies: Path) -> Mapping[str, str]:
    """Study to its patient, as `cobot prepare` wrote it down; empty where it wrote nothing.

    SegRap2023 has two studies of each patient, with contrast and without.

    Raises:
        DatasetError: the record is damaged.
    """
    found: dict[str, str] = {}
    for manifest in sorted(studies.glob("prepared-*.json")):
        try:
            cases = json.loads(manifest.read_text(encoding="utf-8"))["cases"]
            for patient, files in cases.items():
                images = (name for name in files if "/" not in name)
                found |= {name.removesuffix(_SUFFIX): patient for name in images}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"{manifest} is damaged ({type(error).__name__}: {error}). It says which studies "
                "are of one patient: remove it and run cobot prepare again."
            ) from error
    return found
