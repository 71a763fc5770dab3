"""Write an image, not a mask: for phantoms, which have no file to begin with."""

from pathlib import Path

import nibabel as nib

from cobot.atomic import atomic_path
from cobot.errors import ImageWriteError
from cobot.volume import Volume


def write_volume(volume: Volume, path: Path) -> None:
    """Write a volume as NIfTI, values and dtype as they are, its affine as the sform.

    Raises:
        ImageWriteError: the suffix is not .nii or .nii.gz, or the folder cannot be written.
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        raise ImageWriteError(f"{path}: images are written as NIfTI; end the name in .nii.gz.")
    image = nib.Nifti1Image(volume.voxels, volume.affine)
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as partial:
        nib.save(image, partial)
