"""What the demo works on: a phantom with its truth, or the user's image with the user's boxes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cobot.cli.boxes import parse_boxes
from cobot.datasets.phantom import abdomen_phantom
from cobot.errors import ConfigError, ImageWriteError
from cobot.io import read_volume, write_label_map
from cobot.io.image_writer import write_volume
from cobot.planes import acquired_plane
from cobot.prompts import VolumePrompts
from cobot.training.boxes import organ_box
from cobot.volume import LabelMap, Volume

ORGANS = ("liver", "spleen", "right kidney", "left kidney", "spine")


@dataclass(frozen=True, slots=True)
class DemoCase:
    """One image and what is asked of it.

    Attributes:
        name: in titles and file names.
        volume: the image.
        prompts: one box for each organ, and the plane to work in.
        truth: None for a user's image.
        image_path: the image's file or folder; results lie on its grid.
        files: what was written so far, by what it is.
        out: folder for results.
    """

    name: str
    volume: Volume
    prompts: VolumePrompts
    truth: LabelMap | None
    image_path: Path
    files: Mapping[str, Path]
    out: Path


def phantom_case(seed: int, out: Path) -> DemoCase:
    """Make a phantom CT, save it and its truth, and box its organs.

    Raises:
        ImageWriteError: the folder cannot be written.
    """
    make_folder(out)
    phantom = abdomen_phantom(seed)
    image = result_path(out, "phantom", ".nii.gz")
    truth = result_path(out, "phantom", "_truth.nii.gz")
    write_volume(phantom.volume, image)
    write_label_map(phantom.truth, truth, image)
    present = [name for name in ORGANS if phantom.truth.mask(name).any()]
    return DemoCase(
        name="phantom",
        volume=phantom.volume,
        prompts=VolumePrompts(
            plane=acquired_plane(phantom.volume.affine),
            objects=tuple(organ_box(phantom.truth, name) for name in present),
        ),
        truth=phantom.truth,
        image_path=image,
        files={"image": image, "truth": truth},
        out=out,
    )


def user_case(image: Path, boxes: Sequence[str], out: Path) -> DemoCase:
    """Read the user's image and boxes.

    Raises:
        ConfigError: no box was given.
        ImageReadError: the image cannot be read.
        ImageWriteError: the folder cannot be made.
        PromptError: a box cannot be read or lies outside the image.
    """
    if not boxes:
        raise ConfigError(
            "--image needs at least one --box LABEL=i0,j0,k0,i1,j1,k1 (voxel indices of two "
            "opposite corners around an organ), such as --box spleen=20,60,8,70,110,20."
        )
    volume = read_volume(image)
    objects = parse_boxes(boxes, volume)
    make_folder(out)
    return DemoCase(
        name=image.name.split(".")[0],
        volume=volume,
        prompts=VolumePrompts(plane=acquired_plane(volume.affine), objects=objects),
        truth=None,
        image_path=image,
        files={"image": image},
        out=out,
    )


def result_path(out: Path, name: str, ending: str) -> Path:
    """A file of the demo's, which it may replace: in a name that no scan or manual truth has."""
    return out / f"{name}_cobot{ending}"


def make_folder(path: Path) -> None:
    """Make a folder for results, with its parents, unless it is there.

    Raises:
        ImageWriteError: something else has that name, or it may not be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageWriteError(
            f"--out {path} cannot be made: {error.strerror}. Name a folder you may write to."
        ) from error
