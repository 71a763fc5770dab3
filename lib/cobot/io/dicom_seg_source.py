"""The images of a segmentation as highdicom wants them: measured, and without the patient."""

import numpy as np
from jaxtyping import Integer
from pydicom.dataset import Dataset

from cobot.errors import ImageReadError
from cobot.io.dicom_frames import OWN, SHARED, copied
from cobot.io.dicom_source import PATIENT_TAGS, STUDY_TAGS, DicomSource

MEASURES = ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices")


def highdicom_sources(images: DicomSource) -> list[Dataset]:
    """The slices, one an image, or the one enhanced image whose frames they are.

    Raises:
        ImageReadError: the frames are of several files, which no segmentation can refer to.
    """
    across_mm = float(np.linalg.norm(images.grid.affine[:3, 2]))
    slices = [_plain(dataset, across_mm) for dataset in images.slices]
    if images.grid.slices[0].frame is None:
        return slices
    files = images.grid.paths
    if len(files) > 1:
        raise ImageReadError(
            f"{files[0].parent} holds one volume in {len(files)} multi-frame files, and a DICOM "
            "segmentation can refer to one only; write NIfTI or RTSTRUCT."
        )
    return [_multi_frame([slices[k] for k in in_source_order(images)])]


def in_source_order(images: DicomSource) -> Integer[np.ndarray, " k"]:
    """Which slice each image, or each frame of the one image, is."""
    frames = [header.frame or 0 for header in images.grid.slices]
    return np.argsort(frames, kind="stable")


def _plain(dataset: Dataset, across_mm: float) -> Dataset:
    """A slice as a single image.

    highdicom would log an unusual patient's name; patient and study are carried over afterwards.
    Given other measures than its images', it would no longer name the image under each frame.
    """
    plain = copied(dataset, but_for=("NumberOfFrames",))
    for keyword in (*PATIENT_TAGS, *STUDY_TAGS):
        setattr(plain, keyword, None)
    # Six decimals fit into the 16 characters of a decimal string.
    plain.SliceThickness = round(float(dataset.get("SliceThickness") or across_mm), 6)
    plain.SpacingBetweenSlices = round(across_mm, 6)
    return plain


def _multi_frame(frames: list[Dataset]) -> Dataset:
    """The enhanced image again, from its frames, with the groups that place it."""
    image = copied(frames[0])
    image.NumberOfFrames = len(frames)
    shared = Dataset()
    shared.PixelMeasuresSequence = [_only(frames[0], MEASURES)]
    shared.PlaneOrientationSequence = [_only(frames[0], ("ImageOrientationPatient",))]
    setattr(image, SHARED, [shared])
    own = []
    for frame in frames:
        groups = Dataset()
        groups.PlanePositionSequence = [_only(frame, ("ImagePositionPatient",))]
        own.append(groups)
    setattr(image, OWN, own)
    return image


def _only(dataset: Dataset, keywords: tuple[str, ...]) -> Dataset:
    kept = Dataset()
    for keyword in keywords:
        kept[keyword] = dataset[keyword]
    return kept
