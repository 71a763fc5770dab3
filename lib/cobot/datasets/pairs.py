"""Folders of `image_NAME.nii.gz` with `label_NAME.nii.gz` beside them."""

from pathlib import Path

from cobot.errors import ConfigError


def image_label_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Every image of a folder with its label file, in the order of their names.

    Raises:
        ConfigError: the folder is missing, holds no image, or an image has no label.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; give one that holds image_*.nii.gz files.")
    images = sorted(folder.glob("image_*.nii.gz"))
    if not images:
        raise ConfigError(f"{folder} holds no image_*.nii.gz; name the files of a pair so.")
    pairs = [(image, image.with_name(image.name.replace("image_", "label_"))) for image in images]
    missing = [label.name for _, label in pairs if not label.exists()]
    if missing:
        raise ConfigError(f"{folder}: no {', '.join(missing[:3])}; each image needs its label.")
    return pairs
