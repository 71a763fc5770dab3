"""A file that belongs to an image, in another folder: a coarse mask, a truth."""

import os
from dataclasses import dataclass
from pathlib import Path

from cobot.batch.case_names import without_suffix
from cobot.errors import ConfigError
from cobot.io.images import ITK_SUFFIXES, NIFTI_SUFFIXES

SUFFIXES = (".nii.gz", ".nii", *[one for one in ITK_SUFFIXES if one not in NIFTI_SUFFIXES])
CHANNEL = "_0000"
"""What nnU-Net adds to an image's name and not to its label's."""


@dataclass(frozen=True, slots=True)
class PartnerFiles:
    """A folder of files, one for each image, known by the image's name.

    Looked for are, in every format: the image's path below its folder; its file name; the same
    with `image_` or `img` at the beginning as `label_` or `label`, or without nnU-Net's `_0000`.
    """

    folder: Path

    def of(self, image: Path, relative: str) -> Path | None:
        """The file that belongs to an image; None if there is none."""
        itself = os.path.realpath(image)
        stems = dict.fromkeys([without_suffix(relative), without_suffix(image.name)])
        for stem in stems:
            for name in _names(stem):
                for suffix in SUFFIXES:
                    path = self.folder / f"{name}{suffix}"
                    if path.is_file() and os.path.realpath(path) != itself:
                        return path
        return None

    def expected(self, relative: str) -> str:
        """The names under which a file was looked for, for a refusal."""
        stem = without_suffix(relative)
        return " or ".join(f"{name}.nii.gz" for name in _names(stem))


def partner_files(folder: Path, option: str) -> PartnerFiles:
    """The files of a folder.

    Raises:
        ConfigError: it is no folder.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{option} {folder} is not a folder; give the one that holds a mask for each image."
        )
    return PartnerFiles(folder)


def _names(stem: str) -> list[str]:
    parent, slash, name = stem.rpartition("/")
    names = [name]
    for old, new in (("image_", "label_"), ("img", "label")):
        if name.startswith(old):
            names.append(new + name[len(old) :])
    if name.endswith(CHANNEL):
        names.append(name[: -len(CHANNEL)])
    return [f"{parent}{slash}{one}" for one in names]
