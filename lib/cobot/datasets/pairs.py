"""Folders of `image_NAME.nii.gz` with `label_NAME.nii.gz` beside them."""

from pathlib import Path

from cobot.errors import ConfigError

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Of one file a volume."""

_IMAGE, _LABEL = "image_", "label_"


def image_label_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Every image of a folder with its label file, in the order of their names.

    Both have one suffix, one of `IMAGE_SUFFIXES`.

    Raises:
        ConfigError: the folder is missing, holds no image, or an image has no label.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; give one that holds image_*.nii.gz files.")
    images = [path for path in sorted(folder.glob(f"{_IMAGE}*")) if _is_volume(path.name)]
    if not images:
        raise ConfigError(f"{folder} holds no image_*.nii.gz; name the files of a pair so.")
    pairs = [(one, one.with_name(_LABEL + one.name.removeprefix(_IMAGE))) for one in images]
    missing = [label.name for _, label in pairs if not label.exists()]
    if missing:
        raise ConfigError(f"{folder}: no {', '.join(missing[:3])}; each image needs its label.")
    return pairs


def _is_volume(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)
