"""The pixels of DICOM slices in their modality's units (Hounsfield units for CT)."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pydicom
import SimpleITK as sitk
from jaxtyping import Shaped
from pydicom.dataset import Dataset
from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage, generate_uid

from cobot.errors import ImageReadError
from cobot.io.dicom_damage import damage_named
from cobot.io.dicom_frames import GROUP_TAGS, copied
from cobot.io.dicom_headers import is_enhanced, slices_of
from cobot.shapes import Pixels

PIXEL_TAGS = (
    *("SOPClassUID", "Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "PixelData"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PhotometricInterpretation", "RescaleSlope", "RescaleIntercept"),
    *GROUP_TAGS,
)
Stored = Shaped[np.ndarray, "*frame row col"]
"""Values as the file holds them: of one slice, or of all frames."""

DECODERS = "pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"


def read_slices(path: Path) -> Sequence[Pixels]:
    """Read the slices of one file, rows by columns, RescaleSlope and RescaleIntercept applied.

    Returns:
        One slice, or those of an enhanced image in the order of its frames: each int32 where its
        slope and intercept are whole numbers, else float64.

    Raises:
        ImageReadError: no pixel data, cut short, or compressed in a way nothing here can decode.
    """
    with damage_named(path):
        return _read_slices(pydicom.dcmread(path, specific_tags=list(PIXEL_TAGS)), path)


def _read_slices(dataset: Dataset, path: Path) -> list[Pixels]:
    if not dataset.get("PixelData"):
        raise ImageReadError(f"{path} has no pixel data; export the series again with its images.")
    if is_enhanced(dataset):
        return _read_frames(dataset, path)
    decoded = _decode_with_gdcm(path) if _is_for_gdcm(dataset) else None
    if decoded is not None:
        (pixels,) = decoded
        return [pixels.astype(np.int32) if pixels.dtype.kind in "iu" else pixels]
    stored = _stored_bits(_decode_with_pydicom(dataset, path), dataset)
    return [_rescale(stored, *_slope_and_intercept(dataset, path))]


def _read_frames(dataset: Dataset, path: Path) -> list[Pixels]:
    """The frames of an enhanced image, of which each may be rescaled in its own way."""
    frames = slices_of(dataset, path)
    decoded = _decode_frames_with_gdcm(dataset) if _is_for_gdcm(dataset) else None
    if decoded is None:
        decoded = _stored_bits(_decode_with_pydicom(dataset, path), dataset)
    stored = decoded.reshape(-1, *decoded.shape[-2:])
    if len(stored) != len(frames):
        raise ImageReadError(
            f"{path} holds {len(stored)} pictures, its header says {len(frames)}; export it again."
        )
    return [
        _rescale(pixels, *_slope_and_intercept(frame, path))
        for pixels, frame in zip(stored, frames, strict=True)
    ]


def _decode_frames_with_gdcm(dataset: Dataset) -> Shaped[np.ndarray, "frame row col"] | None:
    """Stored values: GDCM would rescale all frames alike, so it gets the pixels without groups."""
    bare = copied(dataset, but_for=GROUP_TAGS)
    bare.file_meta = pydicom.dataset.FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    bare.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    bare.SOPInstanceUID = generate_uid()
    bare.is_little_endian, bare.is_implicit_VR = True, False
    with TemporaryDirectory() as folder:
        file = Path(folder) / "frames.dcm"
        bare.save_as(file, write_like_original=False)
        return _decode_with_gdcm(file)


def _is_for_gdcm(dataset: Dataset) -> bool:
    # GDCM inverts MONOCHROME1, which says how to show values, before it rescales them.
    shown_inverted = dataset.get("PhotometricInterpretation") == "MONOCHROME1"
    return _is_compressed(dataset) and not shown_inverted


def _is_compressed(dataset: Dataset) -> bool:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    return syntax is not None and bool(pydicom.uid.UID(str(syntax)).is_compressed)


def _decode_with_gdcm(path: Path) -> Shaped[np.ndarray, "frame row col"] | None:
    """The slices decoded by GDCM, rescaled already; None where it cannot.

    It is several times faster than Pillow and can read lossless JPEG.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError:
        return None
    return array.reshape(-1, *array.shape[-2:])


def _decode_with_pydicom(dataset: Dataset, path: Path) -> Stored:
    try:
        pixels: Stored = dataset.pixel_array
    except (RuntimeError, NotImplementedError, OSError) as error:
        syntax = pydicom.uid.UID(str(dataset.file_meta.get("TransferSyntaxUID"))).name
        raise ImageReadError(
            f"{path} is compressed ({syntax}) and neither GDCM nor pydicom can decode it: it is "
            "damaged, or a decoder is missing. Copy it again; if that does not help, install the "
            f"decoders (pip install {DECODERS}) or export the series uncompressed."
        ) from error
    return pixels


def _stored_bits(stored: Stored, dataset: Dataset) -> Stored:
    """The bits that are the value, its sign spread; beside them lie overlays, or anything."""
    allocated = 8 * stored.itemsize
    bits = int(dataset.get("BitsStored") or allocated)
    high = int(dataset.get("HighBit") or bits - 1)
    if stored.dtype.kind not in "iu" or not bits <= high + 1 <= allocated or bits == allocated:
        return stored
    return (stored << (allocated - 1 - high)) >> (allocated - bits)


def _slope_and_intercept(dataset: Dataset, path: Path) -> tuple[float, float]:
    try:
        slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
        numbers = float(1 if slope is None else slope), float(0 if intercept is None else intercept)
    except (TypeError, ValueError) as error:
        raise ImageReadError(
            f"{path} has no usable RescaleSlope and RescaleIntercept (one number each expected), "
            "so its grey values are unknown; export the series again from the archive."
        ) from error
    return numbers


def _rescale(stored: Shaped[np.ndarray, "row col"], slope: float, intercept: float) -> Pixels:
    whole = slope.is_integer() and intercept.is_integer() and stored.dtype.kind in "iu"
    # 16 bits times this slope, plus this intercept, cannot leave int32.
    if whole and stored.itemsize <= 2 and abs(slope) <= 2**14 and abs(intercept) <= 2**29:
        return stored.astype(np.int32) * np.int32(slope) + np.int32(intercept)
    return stored * slope + intercept
