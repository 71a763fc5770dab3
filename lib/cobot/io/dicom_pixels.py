"""The pixels of one DICOM slice in its modality's units (Hounsfield units for CT)."""

from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from jaxtyping import Shaped
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from cobot.errors import ImageReadError
from cobot.shapes import Pixels

PIXEL_TAGS = (
    *("SOPClassUID", "Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "PixelData"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PhotometricInterpretation", "RescaleSlope", "RescaleIntercept"),
)
DECODERS = "pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"


def read_pixels(path: Path) -> Pixels:
    """Read one slice, rows by columns, RescaleSlope and RescaleIntercept applied.

    Returns:
        int32 where slope and intercept are whole numbers, else float64.

    Raises:
        ImageReadError: no pixel data, cut short, or compressed in a way nothing here can decode.
    """
    try:
        dataset = pydicom.dcmread(path, specific_tags=list(PIXEL_TAGS))
    except (InvalidDicomError, EOFError, ValueError, KeyError, NotImplementedError) as error:
        raise _damaged(path, error) from error
    if not dataset.get("PixelData"):
        raise ImageReadError(f"{path} has no pixel data; export the series again with its images.")
    # GDCM inverts MONOCHROME1, which says how to show values, before it rescales them.
    if _is_compressed(dataset) and dataset.get("PhotometricInterpretation") != "MONOCHROME1":
        decoded = _decode_with_gdcm(path)
        if decoded is not None:
            return decoded
    stored = _stored_bits(_decode_with_pydicom(dataset, path), dataset)
    return _rescale(stored, *_slope_and_intercept(dataset, path))


def _is_compressed(dataset: Dataset) -> bool:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    return syntax is not None and bool(pydicom.uid.UID(str(syntax)).is_compressed)


def _decode_with_gdcm(path: Path) -> Pixels | None:
    """The slice decoded by GDCM, rescaled already; None where it cannot.

    It is several times faster than Pillow and can read lossless JPEG.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError:
        return None
    pixels: Pixels = array.reshape(array.shape[-2:])
    return pixels.astype(np.int32) if pixels.dtype.kind in "iu" else pixels


def _decode_with_pydicom(dataset: Dataset, path: Path) -> Pixels:
    try:
        pixels: Pixels = dataset.pixel_array
    except (RuntimeError, NotImplementedError) as error:
        syntax = pydicom.uid.UID(str(dataset.file_meta.get("TransferSyntaxUID"))).name
        raise ImageReadError(
            f"{path} is compressed ({syntax}) and neither GDCM nor pydicom can decode it: it is "
            "damaged, or a decoder is missing. Copy it again; if that does not help, install the "
            f"decoders (pip install {DECODERS}) or export the series uncompressed."
        ) from error
    except (ValueError, AttributeError, OSError, KeyError) as error:
        raise _damaged(path, error) from error
    return pixels


def _stored_bits(stored: Pixels, dataset: Dataset) -> Pixels:
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


def _damaged(path: Path, error: Exception) -> ImageReadError:
    return ImageReadError(
        f"{path} is damaged or cut short ({type(error).__name__}); copy or export it again."
    )
