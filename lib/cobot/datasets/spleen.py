"""Medical Segmentation Decathlon, Task09: the spleen in 61 CT scans (Antonelli et al., 2022)."""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cobot.datasets.description import Dataset, OrganGroup, Terms
from cobot.datasets.source_cases import Layer, SourceCase, Survey, Truth
from cobot.errors import DatasetError
from cobot.intensity import PRESETS
from cobot.published import PublishedFile

SPLEEN = Dataset(
    name="spleen",
    title="MSD Task09_Spleen",
    labels={1: "spleen"},
    groups=(OrganGroup("spleen", ("spleen",), PRESETS["spleen"]),),
    plane="axial",
    terms=Terms(
        licence="CC-BY-SA 4.0",
        meaning=(
            "Free to use, also commercially, with attribution (medicaldecathlon.com); what is "
            "made from the images is shared alike. AbdomenCT-1K contains these cases."
        ),
        address="http://medicaldecathlon.com",
    ),
)

SPLEEN_ARCHIVE = PublishedFile(
    "Task09_Spleen.tar", None, "410d4a301da4e5b2f6f86ec3ddba524e", algorithm="md5"
)
SPLEEN_MIRROR = "https://msd-for-monai.s3-us-west-2.amazonaws.com"
"""Where MONAI's DecathlonDataset fetches it; the checksum is MONAI's too."""

PUBLISHED_LABELS = {"0": "background", "1": "spleen"}
ROOT_NAME = "Task09_Spleen"


@dataclass(frozen=True, slots=True)
class SpleenLayout:
    """Final. dataset.json names imagesTr with labelsTr, and imagesTs without labels.

    Attributes:
        training: published number of labelled cases.
        test: published number of cases without labels.
    """

    training: int = 41
    test: int = 20

    def survey(self, source: Path) -> Survey:
        """Read dataset.json and look for the files it names.

        Raises:
            DatasetError: there is no dataset.json of this data set, or it is damaged.
        """
        root = _root(source)
        pairs, tests = _read_index(root / "dataset.json")
        missing = []
        if (len(pairs), len(tests)) != (self.training, self.test):
            missing.append(
                f"dataset.json with {self.training} training and {self.test} test cases (it names "
                f"{len(pairs)} and {len(tests)})"
            )
        cases = {}
        for names in pairs + tests:
            paths = [_inside(root, name) for name in names]
            lost = [path.relative_to(root).as_posix() for path in paths if not path.is_file()]
            missing += lost
            if not lost:
                case = paths[0].name.removesuffix(".nii.gz")
                layers = tuple(Layer(path, {1: 1}) for path in paths[1:])
                truth = Truth(SPLEEN.labels, layers) if layers else None
                cases[case] = SourceCase(case, {case: paths[0]}, truth)
        return Survey(tuple(cases[name] for name in sorted(cases)), tuple(missing))


def _root(source: Path) -> Path:
    for root in (source, source / ROOT_NAME):
        if (root / "dataset.json").is_file():
            return root
    raise DatasetError(
        f"{source} holds no dataset.json, nor does a folder {ROOT_NAME} in it; give the folder "
        f"{ROOT_NAME}.tar was unpacked into, or fetch it with --download."
    )


Names = list[tuple[str, ...]]
"""A case's image, and its label file if it has one."""


def _read_index(path: Path) -> tuple[Names, Names]:
    """What dataset.json names for training and for test."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        labels = index["labels"]
        pairs = [(_text(entry["image"]), _text(entry["label"])) for entry in index["training"]]
        tests = [(_text(entry),) for entry in index["test"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path} is damaged ({type(error).__name__}: {error}); unpack the archive again."
        ) from error
    if labels != PUBLISHED_LABELS:
        raise DatasetError(
            f"{path} names the labels {labels}; {SPLEEN.title} has {PUBLISHED_LABELS}. Is it "
            "another task of the Decathlon?"
        )
    return [*pairs], [*tests]


def _text(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{name!r} is no file name")
    return name


def _inside(root: Path, name: str) -> Path:
    """A file that dataset.json names, which must lie under it."""
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or not name.endswith(".nii.gz"):
        raise DatasetError(
            f"{root / 'dataset.json'} names {name!r}; expected a .nii.gz file below its own "
            "folder. Unpack the published archive again."
        )
    return root.joinpath(*parts.parts)
