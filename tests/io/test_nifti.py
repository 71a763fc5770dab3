"""NIfTI: what is read, that a written affine is the same bit by bit, and every refusal."""

import gzip
import logging
import struct

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from cobot.errors import GridMismatchError, ImageReadError
from cobot.io import read_grid, read_label_map, read_volume, write_label_map
from cobot.volume import LabelMap

OBLIQUE = np.array(
    [[-0.9, 0.2, 0.3, 40.1], [0.1, 1.1, -0.5, -7.3], [0.05, 0.4, 4.9, 3.7], [0, 0, 0, 1]]
)
ROTATED = np.array([[0, -0.6, 0.8 * 5, 1], [0, 0.8, 0.6 * 5, 2], [-2.0, 0, 0, 3], [0, 0, 0, 1]])
LAS = np.array([[-1.25, 0, 0, 192.653], [0, 1.25, 0, -200.66], [0, 0, 7.7, -77.1], [0, 0, 0, 1]])


def voxels(dtype=np.int16) -> np.ndarray:
    return np.arange(60, dtype=dtype).reshape(3, 4, 5)


def sform_only(affine):
    image = nib.Nifti1Image(voxels(), None)
    image.set_sform(affine, code=2)
    return image


def qform_only(affine):
    image = nib.Nifti1Image(voxels(), None)
    image.set_qform(affine, code=1)
    return image


def both_differ(affine):
    image = qform_only(affine)
    image.set_sform(affine @ np.diag([1, 1, 1.5, 1]), code=4)
    return image


def nifti2(affine):
    image = nib.Nifti2Image(voxels(), None)
    image.set_sform(affine / 3, code=2)
    return image


IMAGES = {
    "LAS": sform_only(LAS),
    "oblique sheared": sform_only(OBLIQUE),
    "qform only": qform_only(ROTATED),
    "qform only, left-handed": qform_only(LAS),
    "both differ": both_differ(ROTATED),
    "nifti-2": nifti2(OBLIQUE),
    "no codes": nib.Nifti1Image(voxels(), None),
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_mask_has_the_image_affine_bit_by_bit(tmp_path, name, suffix):
    source, target = tmp_path / "image.nii.gz", tmp_path / f"mask{suffix}"
    nib.save(IMAGES[name], source)
    image = read_volume(source)
    drawn = LabelMap((image.voxels % 3).astype(np.uint8), image.affine, {1: "liver", 2: "spleen"})
    write_label_map(drawn, target, like=source)

    before, after = nib.load(source), nib.load(target)
    assert after.affine.tobytes() == before.affine.tobytes()
    assert type(after) is type(before)
    assert after.get_data_dtype() == np.uint8
    for field in ("sform_code", "qform_code", "xyzt_units", "srow_x", "quatern_b", "qoffset_z"):
        assert after.header[field].tobytes() == before.header[field].tobytes()
    assert after.header.get_qform().tobytes() == before.header.get_qform().tobytes()
    assert after.header.get_zooms() == before.header.get_zooms()

    again = read_label_map(target)
    assert again.affine.tobytes() == image.affine.tobytes()
    np.testing.assert_array_equal(again.voxels, drawn.voxels)
    assert again.labels == {1: "liver", 2: "spleen"}


def test_affine_is_nibabels(tmp_path):
    for name, image in IMAGES.items():
        nib.save(image, tmp_path / "image.nii")
        expected = nib.load(tmp_path / "image.nii").affine
        assert np.array_equal(read_volume(tmp_path / "image.nii").affine, expected), name


@pytest.mark.parametrize("affine", [LAS, ROTATED, OBLIQUE], ids=["LAS", "rotated", "sheared"])
def test_without_like_the_affine_is_written_in_single_precision(tmp_path, affine):
    write_label_map(LabelMap(voxels(np.uint8), affine, {}), tmp_path / "mask.nii.gz")
    header = nib.load(tmp_path / "mask.nii.gz").header
    np.testing.assert_array_equal(header.get_sform(), affine.astype(np.float32))
    sheared = affine is OBLIQUE
    assert header["qform_code"] == (0 if sheared else 1)
    if not sheared:
        np.testing.assert_allclose(header.get_qform(), affine, atol=1e-4)
    assert header.get_xyzt_units()[0] == "mm"


def test_other_programs_read_the_mask(tmp_path):
    """The names' extension moves the voxels in the file; ITK must still find them."""
    drawn = LabelMap(voxels(np.uint8), LAS, {value: f"organ {value} ü" for value in range(1, 60)})
    write_label_map(drawn, tmp_path / "mask.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "mask.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, drawn.voxels)
    np.testing.assert_allclose(image.GetOrigin(), LAS[:3, 3] * [-1, -1, 1], rtol=1e-6)
    assert read_label_map(tmp_path / "mask.nii.gz").labels == drawn.labels


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i2", "<u2", "i4", "f4", ">f4", "f8"])
def test_unscaled_integers_stay_and_floats_become_float32(tmp_path, dtype):
    data = voxels(np.dtype(dtype))
    nib.save(nib.Nifti1Image(data, LAS), tmp_path / "image.nii.gz")
    read = read_volume(tmp_path / "image.nii.gz").voxels
    native = np.dtype(dtype).newbyteorder("=")
    assert read.dtype == (native if native.kind in "iu" else np.float32)
    assert read.flags.writeable
    np.testing.assert_array_equal(read, data)


def test_big_endian_file(tmp_path):
    header = nib.Nifti1Header(endianness=">")
    nib.save(nib.Nifti1Image(voxels(), LAS, header), tmp_path / "image.nii")
    assert (tmp_path / "image.nii").read_bytes()[:4] == b"\0\0\x01\x5c"
    image = read_volume(tmp_path / "image.nii")
    np.testing.assert_array_equal(image.voxels, voxels())
    drawn = LabelMap(image.voxels.astype(np.uint8), image.affine, {})
    write_label_map(drawn, tmp_path / "mask.nii", like=tmp_path / "image.nii")
    assert np.array_equal(nib.load(tmp_path / "mask.nii").affine, image.affine)


def test_scaled_header(tmp_path):
    image = nib.Nifti1Image(voxels(), LAS)
    image.header.set_slope_inter(0.5, -1024)
    nib.save(image, tmp_path / "image.nii.gz")
    path = tmp_path / "raw.nii"
    raw = bytearray(gzip.decompress((tmp_path / "image.nii.gz").read_bytes()))
    # nibabel divides by the slope when it saves; here the stored numbers stay.
    raw[352:] = voxels().astype("<i2").tobytes("F")
    raw[112:120] = struct.pack("<2f", 0.5, -1024)
    path.write_bytes(raw)
    read = read_volume(path)
    assert read.voxels.dtype == np.float32
    np.testing.assert_array_equal(read.voxels, voxels() * 0.5 - 1024)


def test_identity_scaling_keeps_integers(tmp_path):
    write_raw(tmp_path / "image.nii", {112: struct.pack("<2f", 1, 0)})
    assert read_volume(tmp_path / "image.nii").voxels.dtype == np.int16


def test_one_frame_of_4d_and_one_slice_are_volumes(tmp_path):
    nib.save(nib.Nifti1Image(voxels()[..., None], LAS), tmp_path / "frame.nii")
    nib.save(nib.Nifti1Image(voxels()[:, :, :1], LAS), tmp_path / "slice.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "frame.nii").voxels, voxels())
    assert read_volume(tmp_path / "slice.nii").shape == (3, 4, 1)
    drawn = LabelMap(voxels(np.uint8), LAS.astype(np.float32).astype(float), {})
    write_label_map(drawn, tmp_path / "mask.nii", like=tmp_path / "frame.nii")
    assert nib.load(tmp_path / "mask.nii").shape == (3, 4, 5)


def test_no_codes_is_read_with_a_warning(tmp_path, caplog):
    nib.save(IMAGES["no codes"], tmp_path / "image.nii")
    with caplog.at_level(logging.WARNING):
        read_volume(tmp_path / "image.nii")
    assert "neither sform nor qform" in caplog.text
    caplog.clear()
    nib.save(IMAGES["LAS"], tmp_path / "image.nii")
    read_volume(tmp_path / "image.nii")
    assert not caplog.records


def test_like_of_another_grid_is_refused(tmp_path):
    nib.save(IMAGES["LAS"], tmp_path / "image.nii")
    moved = LAS + np.array([[0, 0, 0, 0.1]] * 3 + [[0, 0, 0, 0]])
    for drawn in (LabelMap(voxels(np.uint8)[:2], LAS, {}), LabelMap(voxels(np.uint8), moved, {})):
        with pytest.raises(GridMismatchError, match="not on the image's grid"):
            write_label_map(drawn, tmp_path / "mask.nii", like=tmp_path / "image.nii")
    assert not (tmp_path / "mask.nii").exists()


def write_raw(path, patches):
    """Write a small NIfTI-1 file with bytes of its header replaced: offset to bytes."""
    raw = bytearray(IMAGES["LAS"].to_bytes())
    for offset, data in patches.items():
        raw[offset : offset + len(data)] = data
    path.write_bytes(raw)


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


NO_SFORM = {252: struct.pack("<2h", 1, 0)}
BAD_HEADERS = {
    "size": ({0: b"\x07\0\0\0"}, "has no NIfTI header"),
    "data type": ({70: struct.pack("<h", 9999)}, "damaged or incomplete"),
    "number of axes": ({40: struct.pack("<h", 9)}, "damaged or incomplete"),
    "negative length": ({42: struct.pack("<h", -5)}, "damaged or incomplete"),
    "zero length": ({42: struct.pack("<h", 0)}, "holds no voxels|damaged or incomplete"),
    "more voxels than bytes": ({42: struct.pack("<h", 3000)}, "damaged or incomplete"),
    "negative pixdim": ({80: floats(-1.25)}, r"spacing \(pixdim\) \[-1.25, .*three positive"),
    "zero pixdim": ({84: floats(0)}, r"spacing \(pixdim\)"),
    "NaN pixdim": ({88: floats(float("nan"))}, r"spacing \(pixdim\)"),
    "impossible quaternion": (NO_SFORM | {256: floats(3, 3, 3)}, "damaged or incomplete"),
    "singular sform": ({280: floats(*[1, 1, 0, 0] * 3)}, "image.nii: The affine is singular"),
    "empty sform": ({280: floats(*[0] * 12)}, "affine is singular.*Convert"),
    "NaN sform": ({280: floats(float("nan"))}, "affine holds NaN"),
    "metres": ({123: b"\x01"}, "gives positions in meter; expected mm"),
    "unknown unit": ({123: b"\x05"}, "gives positions in unit 5; expected mm"),
}


@pytest.mark.parametrize("fault", BAD_HEADERS)
def test_bad_header(tmp_path, fault):
    patches, message = BAD_HEADERS[fault]
    write_raw(tmp_path / "image.nii", patches)
    with pytest.raises(ImageReadError, match=message) as refused:
        read_volume(tmp_path / "image.nii")
    assert "image.nii" in str(refused.value)


def test_an_unknown_unit_of_time_is_no_fault(tmp_path):
    write_raw(tmp_path / "image.nii", {123: bytes([128 + 2])})
    np.testing.assert_array_equal(read_volume(tmp_path / "image.nii").voxels, voxels())


RGB = np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
NAN = np.where(voxels() == 7, np.nan, 1).astype(np.float32)
BAD_ARRAYS = {
    "2D": (np.zeros((3, 4), np.int16), r"2D picture of shape \(3, 4\); expected a 3D volume"),
    "frames": (np.zeros((3, 4, 5, 2), np.int16), r"4 axes, shape \(3, 4, 5, 2\).*Save one frame"),
    "vectors": (np.zeros((3, 4, 5, 1, 3), np.int16), "has 5 axes"),
    "RGB": (RGB, "holds colours or complex numbers"),
    "complex": (np.zeros((3, 4, 5), np.complex64), "holds colours or complex numbers"),
    "NaN": (NAN, "holds 1 voxels that are NaN.*replace them"),
    "infinite": (np.full((3, 4, 5), np.inf), "holds 60 voxels"),
    "beyond float32": (np.full((3, 4, 5), 1e300), "beyond float32"),
}


@pytest.mark.parametrize("fault", BAD_ARRAYS)
def test_not_one_volume_of_finite_numbers(tmp_path, fault):
    array, message = BAD_ARRAYS[fault]
    nib.save(nib.Nifti1Image(array, LAS), tmp_path / "image.nii.gz")
    with pytest.raises(ImageReadError, match=message) as refused:
        read_volume(tmp_path / "image.nii.gz")
    assert str(tmp_path / "image.nii.gz") in str(refused.value)


def damaged_files():
    whole = IMAGES["LAS"].to_bytes()
    packed = gzip.compress(whole)
    flipped = bytearray(packed)
    flipped[-6] ^= 0xFF
    return {
        "cut gzip": ("image.nii.gz", packed[: len(packed) // 2], "damaged or incomplete"),
        "gzip checksum": ("image.nii.gz", bytes(flipped), "CRC check failed"),
        "cut voxels": ("image.nii", whole[:-9], "damaged or incomplete.*Expected 120 bytes"),
        "cut header": ("image.nii", whole[:100], "has no NIfTI header"),
        "gzip in .nii": ("image.nii", packed, "holds gzip data .* rename it to .nii.gz"),
        "plain in .gz": ("image.nii.gz", whole, "not gzip data .* rename it to .nii,"),
        "text": ("image.nii", b"hello" * 100, "has no NIfTI header"),
    }


@pytest.mark.parametrize("fault", damaged_files())
def test_damaged_file(tmp_path, fault):
    name, content, message = damaged_files()[fault]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageReadError, match=message):
        read_volume(tmp_path / name)


def test_a_damaged_stream_has_no_grid_either(tmp_path):
    packed = bytearray(gzip.compress(IMAGES["LAS"].to_bytes()))
    packed[20:28] = b"\xff" * 8
    (tmp_path / "image.nii.gz").write_bytes(packed)
    with pytest.raises(ImageReadError, match="image.nii.gz is damaged or incomplete"):
        read_grid(tmp_path / "image.nii.gz")


def test_damaged_like(tmp_path):
    (tmp_path / "image.nii").write_bytes(b"hello" * 100)
    with pytest.raises(ImageReadError, match="image.nii is damaged"):
        write_label_map(
            LabelMap(voxels(np.uint8), LAS, {}), tmp_path / "mask.nii", tmp_path / "image.nii"
        )


@pytest.mark.parametrize("code", [0, 30])
def test_names_are_read_from_a_label_table_of_connectome_workbench(tmp_path, code):
    """TotalSegmentator writes one, with another code."""
    table = (
        '<?xml version="1.0"?><CaretExtension><VolumeInformation Index="0"><LabelTable>\n'
        '<Label Key="0" Alpha="0"><![CDATA[???]]></Label>\n'
        '<Label Key="2" Red="0.0" Green="1.0" Alpha="1"><![CDATA[kidney_right]]></Label>\n'
        '<Label Key="5" Red="0.0"><![CDATA[foie é]]></Label></LabelTable></CaretExtension>'
    )
    image = nib.Nifti1Image(np.full((3, 4, 5), 5, np.uint8), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension(code, table.encode()))
    nib.save(image, tmp_path / "organs.nii.gz")
    assert read_label_map(tmp_path / "organs.nii.gz").labels == {2: "kidney_right", 5: "foie é"}
