"""Compressed transfer syntaxes: the pixels of the uncompressed series, or one clear refusal."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from cobot.errors import ImageReadError
from cobot.io import read_volume
from cobot.io.dicom_pixels import read_slices
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

UNCOMPRESSED = "MR_small.dcm"
"""pydicom ships this slice in several encodings."""

HU = np.random.default_rng(0).integers(-1000, 1500, (16, 24, 4)).astype(np.int16)


def shipped(name):
    found = get_testdata_file(name, download=False)
    assert found is not None
    return Path(found)


def one_slice(file):
    (pixels,) = read_slices(file)
    return pixels


@pytest.mark.parametrize(
    "name",
    ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"],
)
def test_lossless_files_of_other_programs(name):
    assert pydicom.dcmread(shipped(name)).file_meta.TransferSyntaxUID.is_compressed
    pixels = one_slice(shipped(name))
    np.testing.assert_array_equal(pixels, one_slice(shipped(UNCOMPRESSED)))
    np.testing.assert_array_equal(pixels, pydicom.dcmread(shipped(UNCOMPRESSED)).pixel_array)


def test_other_byte_order_and_deflated_files():
    pixels = one_slice(shipped("MR_small_bigendian.dcm"))
    np.testing.assert_array_equal(pixels, one_slice(shipped(UNCOMPRESSED)))
    deflated = shipped("image_dfl.dcm")
    np.testing.assert_array_equal(one_slice(deflated), pydicom.dcmread(deflated).pixel_array)


@pytest.mark.parametrize("compressor", ["JPEG2000", "JPEG"])
def test_a_series_is_the_same_compressed(tmp_path, write_ct_series, compress, compressor):
    """JPEG means lossless JPEG here: what GDCM writes for 16 bits."""
    files = write_ct_series(tmp_path, HU)
    plain = read_volume(tmp_path)
    compress(files, compressor)
    assert pydicom.dcmread(files[0]).file_meta.TransferSyntaxUID.is_compressed
    compressed = read_volume(tmp_path)
    np.testing.assert_array_equal(compressed.voxels, plain.voxels)
    np.testing.assert_array_equal(compressed.affine, plain.affine)
    assert compressed.voxels.dtype == plain.voxels.dtype


def test_slices_of_one_series_may_differ_in_encoding(tmp_path, write_ct_series, compress):
    files = write_ct_series(tmp_path, HU)
    compress(files[1:3], "JPEG2000")
    np.testing.assert_array_equal(read_volume(tmp_path).voxels, HU.transpose(1, 0, 2))


def test_values_shown_inverted_are_the_same_compressed(tmp_path, write_ct_series):
    """MONOCHROME1 says how to show values; GDCM inverts them."""
    (file,) = write_ct_series(tmp_path, HU[:, :, :1], PhotometricInterpretation="MONOCHROME1")
    plain = one_slice(file)
    np.testing.assert_array_equal(plain, HU[:, :, 0])
    dataset = pydicom.dcmread(file)
    dataset.compress(RLELossless)
    dataset.save_as(file)
    np.testing.assert_array_equal(one_slice(file), plain)


@pytest.mark.parametrize(
    ("syntax", "message"),
    [
        (JPEG2000, r"is compressed \(JPEG 2000.*damaged, or a decoder is missing"),
        (JPEG2000Lossless, r"is compressed \(JPEG 2000.*damaged, or a decoder is missing"),
        (JPEGLSLossless, r"is compressed \(JPEG-LS Lossless.*pip install pylibjpeg"),
        (JPEGLosslessSV1, r"is compressed \(JPEG Lossless.*pip install pylibjpeg"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_nothing_decodes_is_refused(tmp_path, write_ct_series, syntax, message):
    files = write_ct_series(tmp_path, HU)
    dataset = pydicom.dcmread(files[0])
    dataset.PixelData = encapsulate([b"\xff\xd8 no such stream \xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(files[0])
    with pytest.raises(ImageReadError, match=f"slice_100.dcm {message}"):
        read_volume(tmp_path)
