"""AbdomenCT-1K: liver, kidney, spleen and pancreas in 1062 CT scans (Ma et al., TPAMI 2022)."""

import re
from dataclasses import dataclass
from pathlib import Path

from cobot.datasets.description import Dataset, OrganGroup, Terms
from cobot.datasets.source_cases import Layer, SourceCase, Survey, Truth, by_name
from cobot.errors import DatasetError
from cobot.intensity import PRESETS

ABDOMEN = Dataset(
    name="abdomen",
    title="AbdomenCT-1K",
    labels={1: "liver", 2: "kidney", 3: "spleen", 4: "pancreas"},
    groups=(OrganGroup("abdomen", ("liver", "kidney", "spleen", "pancreas"), PRESETS["abdomen"]),),
    plane="axial",
    terms=Terms(
        licence="the terms of its sources (MSD CC-BY-SA 4.0, KiTS19 CC-BY-NC-SA 4.0, LiTS, NIH)",
        meaning=(
            "For research; do not pass the images on. Adapters trained on it inherit the strictest "
            "of these terms. It contains MSD Spleen and MSD Pancreas, so a model trained on it "
            "must not be tested on those."
        ),
        address="https://github.com/JunMa11/AbdomenCT-1K",
    ),
)
"""Both kidneys carry one value, 2. `spleen` is absent in a few cases."""

IMAGE = re.compile(r"(Case_\d{5})_0000\.nii\.gz")
MASK = re.compile(r"(Case_\d{5})\.nii\.gz")


@dataclass(frozen=True, slots=True)
class AbdomenLayout:
    """Final. `Case_00001_0000.nii.gz` and `Case_00001.nii.gz`, in folders of any name.

    The archives unpack into AbdomenCT-1K-ImagePart1 to 3 and Mask; all must be somewhere below one
    folder. Images without a mask become studies without a label.

    Attributes:
        images: how many were published, numbered from 1.
        masks: how many of them have a public mask, at least; which ones is not published.
    """

    images: int = 1062
    masks: int = 1000

    def survey(self, source: Path) -> Survey:
        """Pair images and masks by their case.

        Raises:
            DatasetError: no file is named as in AbdomenCT-1K, or one is there twice.
        """
        named = by_name(source, "Case_*.nii.gz", ABDOMEN.title)
        images = {
            found[1]: path for name, path in named.items() if (found := IMAGE.fullmatch(name))
        }
        masks = {found[1]: path for name, path in named.items() if (found := MASK.fullmatch(name))}
        if not images:
            raise DatasetError(
                f"{source} holds no Case_00001_0000.nii.gz or the like; give the folder that holds "
                "AbdomenCT-1K's unpacked ImagePart and Mask folders."
            )
        published = [f"Case_{number:05d}" for number in range(1, self.images + 1)]
        absent = sorted((set(published) | set(masks)) - set(images))
        missing = [f"{case}_0000.nii.gz" for case in absent]
        if len(masks) < self.masks:
            bare = sorted(set(images) - set(masks))
            missing += [f"{case}.nii.gz" for case in bare[: self.masks - len(masks)]]
        cases = (
            SourceCase(case, {case: image}, _truth(masks[case]) if case in masks else None)
            for case, image in sorted(images.items())
        )
        return Survey(tuple(cases), tuple(missing))


def _truth(mask: Path) -> Truth:
    return Truth(ABDOMEN.labels, (Layer(mask, {value: value for value in ABDOMEN.labels}),))
