"""Whether a submitted label can be a label of its image, before it replaces the one there is."""

from pathlib import Path

from fastapi import HTTPException

from cobot.errors import CobotError
from cobot.io import read_grid, read_volume


def check_label(label: Path, image: Path) -> None:
    """Refuse a label that nobody could learn from.

    An image that cannot be read here refuses nothing: the annotator's program could read it.

    Raises:
        HTTPException: 422; the label cannot be read, or has another shape than its image.
    """
    try:
        shape = read_volume(label).shape
    except CobotError as error:
        message = str(error).replace(str(label), "The label")
        raise HTTPException(
            422, f"{message} Nothing was stored or replaced; submit the label again."
        ) from None
    try:
        expected = read_grid(image).shape
    except CobotError:
        return
    if shape != expected:
        raise HTTPException(
            422,
            f"The label has {_voxels(shape)} voxels and its image {_voxels(expected)}; nothing was "
            "stored or replaced. In Slicer set the segmentation's source geometry to the volume "
            "and submit it again.",
        )


def _voxels(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
