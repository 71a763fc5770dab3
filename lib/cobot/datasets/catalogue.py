"""Every data set by its name."""

from collections.abc import Mapping
from pathlib import Path

from cobot.datasets.abdomen import ABDOMEN, AbdomenLayout
from cobot.datasets.custom import read_dataset
from cobot.datasets.description import Dataset
from cobot.datasets.head_neck import HEAD_NECK
from cobot.datasets.head_neck_layout import HeadNeckLayout
from cobot.datasets.source_cases import PublicLayout
from cobot.datasets.spleen import SPLEEN, SpleenLayout
from cobot.errors import DatasetError

PUBLIC: Mapping[str, tuple[Dataset, PublicLayout]] = {
    "abdomen": (ABDOMEN, AbdomenLayout()),
    "spleen": (SPLEEN, SpleenLayout()),
    "head_neck": (HEAD_NECK, HeadNeckLayout()),
}
"""The public data sets and how they are laid out when unpacked."""


def public_dataset(name: str) -> tuple[Dataset, PublicLayout]:
    """A public data set and its layout; `head-neck` is `head_neck`.

    Raises:
        DatasetError: none has that name.
    """
    found = PUBLIC.get(name.replace("-", "_"))
    if found is None:
        raise DatasetError(
            f"There is no public data set {name!r}; expected one of abdomen, spleen, head-neck."
        )
    return found


def dataset(name: str) -> Dataset:
    """A data set by the name of a public one, or by the path of a TOML file.

    Raises:
        DatasetError: neither, or the file describes no data set.
    """
    return read_dataset(Path(name)) if name.endswith(".toml") else public_dataset(name)[0]
