"""Whether a submitted label can be a label of its image, before it replaces the one there is."""

from pathlib import Path

from fastapi import HTTPException

from cobot.errors import CobotError, GridMismatchError
from cobot.io import read_grid, read_label_map


def check_label(label: Path, image: Path) -> None:
    """Refuse a label that nobody could learn from.

    An image that cannot be read here refuses nothing: the annotator's program could read it.

    Raises:
        HTTPException: 422; it cannot be read as labels, or lies on another grid than its image.
    """
    try:
        found = read_label_map(label)
    except CobotError as error:
        message = str(error).replace(str(label), "The label")
        raise HTTPException(
            422, f"{message} Nothing was stored or replaced; submit the label again."
        ) from None
    try:
        expected = read_grid(image)
    except CobotError:
        return
    try:
        found.on_grid_of(expected)
    except GridMismatchError:
        shape = found.voxels.shape
        told = "lies elsewhere than its image, though it has as many voxels"
        if shape != expected.shape:
            told = f"has {_voxels(shape)} voxels and its image {_voxels(expected.shape)}"
        raise HTTPException(
            422,
            f"The label {told}; nothing was stored or replaced. In Slicer set the segmentation's "
            "source geometry to the volume and submit it again.",
        ) from None


def _voxels(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
