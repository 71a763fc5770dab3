"""A CT series as scanners write it, one file a slice, for every test of DICOM reading."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

CtSeries = Callable[..., list[Path]]


@pytest.fixture
def write_ct_series() -> CtSeries:
    """Return a function that writes `hu` (row col slice) as CT slices into a folder.

    Its keyword arguments override DICOM fields; a callable value is called with the slice number;
    None removes the field, `storage` sets the class. Slices are axial, 0.7 x 0.8 mm, 2.5 mm apart,
    upwards from z = -10.
    """
    return write_series


def write_series(folder: Path, hu: np.ndarray, **fields: object) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    series = generate_uid(entropy_srcs=[str(folder)])
    return [
        write_slice(folder, hu[:, :, number], number, {"SeriesInstanceUID": series} | fields)
        for number in range(hu.shape[2])
    ]


def write_slice(folder: Path, hu: np.ndarray, number: int, fields: dict[str, object]) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = fields.get("storage", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(folder), str(number)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # Names that sort against the positions: order must come from the geometry.
    path = folder / f"slice_{100 - number:03d}.dcm"
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    given = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "CT",
        "PatientName": "Secret^Patient",
        "Rows": hu.shape[0],
        "Columns": hu.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "PixelSpacing": [0.7, 0.8],
        "SliceThickness": 5,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [-20.0, -30.0, -10.0 + 2.5 * number],
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelData": (hu + 1024).astype("<u2").tobytes(),
    } | fields
    for keyword, value in given.items():
        resolved = value(number) if callable(value) else value
        if isinstance(resolved, RawDataElement):
            dataset[resolved.tag] = resolved
        elif resolved is not None and keyword != "storage":
            setattr(dataset, keyword, resolved)
    dataset.save_as(path, write_like_original=False)
    return path


@pytest.fixture
def hu() -> np.ndarray:
    """Return five slices of 4 rows and 3 columns in HU, every value different."""
    return np.arange(60, dtype=np.int16).reshape(4, 3, 5) * 20 - 1000


@pytest.fixture
def compress() -> Callable[[list[Path], str], None]:
    """Return a function that replaces the pixels of files by what GDCM makes of them."""
    return compress_slices


def compress_slices(files: list[Path], compressor: str) -> None:
    for file in files:
        dataset = pydicom.dcmread(file)
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetCompressor(compressor)
        writer.UseCompressionOn()
        writer.SetFileName(str(file.with_suffix(".encoded.dcm")))
        pixels = dataset.pixel_array
        writer.Execute(sitk.GetImageFromArray(pixels.reshape(-1, *pixels.shape[-2:])))
        encoded = pydicom.dcmread(file.with_suffix(".encoded.dcm"))
        file.with_suffix(".encoded.dcm").unlink()
        dataset.PixelData = encoded.PixelData
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = encoded.file_meta.TransferSyntaxUID
        dataset.save_as(file)


@pytest.fixture
def damaged() -> Callable[..., list[bytes]]:
    """Return a function that gives a file's bytes cut short at many places, and with one changed.

    Its arguments: the bytes, how many lie between two cuts, and the range in which bytes change.
    """

    def made(whole: bytes, step: int, first: int = 0, last: int | None = None) -> list[bytes]:
        rng = np.random.default_rng(0)
        broken = [whole[:size] for size in range(first, len(whole) - 1, step)]
        for at in rng.integers(first, min(last or len(whole), len(whole)), 150).tolist():
            broken.append(whole[:at] + bytes([int(rng.integers(256))]) + whole[at + 1 :])
        return broken

    return made
