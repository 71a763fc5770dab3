"""NRRD and MetaImage: known voxels at known places, round trips, refusals."""

import numpy as np
import pytest
import SimpleITK as sitk
from cobot.errors import ImageReadError
from cobot.io import read_label_map, read_volume, write_label_map
from cobot.volume import LabelMap

VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
COS, SIN = np.cos(0.3), np.sin(0.3)
AFFINE = np.array(
    [
        [-0.7 * COS, 1.1 * SIN, 0, 10.1],
        [-0.7 * SIN, -1.1 * COS, 0, -20.2],
        [0, 0, 5, 30.3],
        [0, 0, 0, 1],
    ]
)


def image_of(array, spacing=(0.7, 1.1, 5.0), origin=(-10.1, 20.2, 30.3)):
    image = sitk.GetImageFromArray(array)
    if image.GetDimension() == 3:
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        image.SetDirection([COS, -SIN, 0, SIN, COS, 0, 0, 0, 1])
    return image


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd"])
def test_read(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    sitk.WriteImage(image_of(VOXELS.T), str(path), True)
    volume = read_volume(path)
    assert volume.voxels.dtype == np.int16
    assert volume.voxels.flags.writeable
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-12)


@pytest.mark.parametrize(
    ("space", "sign"),
    [
        ("left-posterior-superior", (-1, -1, 1)),
        ("right-anterior-superior", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
    ],
)
def test_nrrd_spaces(tmp_path, space, sign):
    header = (
        f"NRRD0004\ntype: short\ndimension: 3\nspace: {space}\nsizes: 3 4 5\n"
        "space directions: (2,0,0) (0,3,0) (0,0,4)\nkinds: domain domain domain\n"
        "endian: little\nencoding: raw\nspace origin: (10,20,30)\n\n"
    )
    path = tmp_path / "image.nrrd"
    path.write_bytes(header.encode() + VOXELS.astype("<i2").tobytes("F"))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    expected = np.diag([*sign, 1.0]) @ [[2, 0, 0, 10], [0, 3, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]]
    np.testing.assert_array_equal(volume.affine, expected)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".seg.nrrd"])
@pytest.mark.parametrize("with_like", [True, False])
def test_label_map_round_trip(tmp_path, suffix, with_like):
    sitk.WriteImage(image_of(VOXELS.T), str(tmp_path / "image.nrrd"))
    image = read_volume(tmp_path / "image.nrrd")
    drawn = LabelMap((VOXELS % 3).astype(np.uint8), image.affine, {1: "Leber ü", 2: "left = lung"})
    path = tmp_path / f"mask{suffix}"
    write_label_map(drawn, path, like=tmp_path / "image.nrrd" if with_like else None)
    again = read_label_map(path)
    np.testing.assert_array_equal(again.voxels, drawn.voxels)
    np.testing.assert_allclose(again.affine, image.affine, rtol=0, atol=1e-12)
    assert again.labels == drawn.labels


def test_like_of_the_same_format_keeps_the_numbers(tmp_path):
    source, target = tmp_path / "image.mha", tmp_path / "mask.mha"
    sitk.WriteImage(
        image_of(VOXELS.T, spacing=(1 / 3, 2 / 7, 0.1), origin=(1e-7 / 3, 1, 2)), source
    )
    image = read_volume(source)
    write_label_map(LabelMap(VOXELS.astype(np.uint8), image.affine, {}), target, like=source)
    assert read_volume(target).affine.tobytes() == image.affine.tobytes()


def test_sheared_grid_survives_in_nrrd(tmp_path):
    sheared = np.array([[1, 0.3, 0, 5], [0, 2, 0.4, 6], [0, 0, 3, 7], [0, 0, 0, 1.0]])
    write_label_map(LabelMap(VOXELS.astype(np.uint8), sheared, {}), tmp_path / "mask.nrrd")
    np.testing.assert_allclose(read_volume(tmp_path / "mask.nrrd").affine, sheared, atol=1e-12)


def test_slicer_finds_the_segments(tmp_path):
    drawn = LabelMap(VOXELS.astype(np.uint8), AFFINE, {7: "liver"})
    write_label_map(drawn, tmp_path / "mask.seg.nrrd")
    image = sitk.ReadImage(str(tmp_path / "mask.seg.nrrd"))
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    assert fields["Segment0_Name"] == "liver"
    assert fields["Segment0_LabelValue"] == "7"
    assert fields["Segment0_Layer"] == "0"


def test_written_file_is_compressed(tmp_path):
    drawn = LabelMap(np.zeros((64, 64, 64), np.uint8), AFFINE, {})
    for suffix in (".nrrd", ".mha", ".nii.gz"):
        write_label_map(drawn, tmp_path / f"mask{suffix}")
        assert (tmp_path / f"mask{suffix}").stat().st_size < 64**3 / 50


def test_single_frame_of_4d_is_a_volume(tmp_path):
    sitk.WriteImage(sitk.JoinSeries([image_of(VOXELS.T)]), str(tmp_path / "image.nrrd"))
    volume = read_volume(tmp_path / "image.nrrd")
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-12)
    drawn = LabelMap(VOXELS.astype(np.uint8), volume.affine, {})
    write_label_map(drawn, tmp_path / "mask.nrrd", like=tmp_path / "image.nrrd")
    assert read_volume(tmp_path / "mask.nrrd").shape == (3, 4, 5)


REFUSED = {
    "2D": (sitk.GetImageFromArray(np.zeros((4, 3), np.int16)), "2D picture"),
    "frames": (sitk.GetImageFromArray(np.zeros((2, 5, 4, 3), np.int16), False), "has 4 axes"),
    "colours": (sitk.GetImageFromArray(np.zeros((5, 4, 3, 3), np.uint8), True), "3 numbers a vox"),
    "NaN": (image_of(np.full((5, 4, 3), np.nan)), "60 voxels that are NaN"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_not_one_volume(tmp_path, fault):
    image, message = REFUSED[fault]
    sitk.WriteImage(image, str(tmp_path / "image.nrrd"))
    with pytest.raises(ImageReadError, match=message) as refused:
        read_volume(tmp_path / "image.nrrd")
    assert str(tmp_path / "image.nrrd") in str(refused.value)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("content", ["cut", "text"])
def test_damaged(tmp_path, suffix, content):
    path = tmp_path / f"image{suffix}"
    sitk.WriteImage(image_of(VOXELS.T), str(path), True)
    path.write_bytes(path.read_bytes()[:-30] if content == "cut" else b"hello" * 50)
    with pytest.raises(ImageReadError, match=f"image{suffix} could not be read .*Copy it again"):
        read_volume(path)


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd"])
def test_packed_voxels_with_a_wrong_checksum(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    noise = np.random.default_rng(0).integers(0, 1000, (9, 20, 30)).astype(np.int16)
    sitk.WriteImage(image_of(noise), str(path), True)
    np.testing.assert_array_equal(read_volume(path).voxels, noise.T)
    data = next(iter({*tmp_path.iterdir()} - {path}), path)
    content = bytearray(data.read_bytes())
    content[-900:-890] = bytes(10)
    data.write_bytes(content)
    with pytest.raises(ImageReadError, match=f"image{suffix} is damaged: its packed voxels"):
        read_volume(path)


def test_header_without_its_data_file(tmp_path):
    sitk.WriteImage(image_of(VOXELS.T), str(tmp_path / "image.mhd"))
    (tmp_path / "image.raw").unlink()
    with pytest.raises(ImageReadError, match="image.mhd could not be read .*with its data file"):
        read_volume(tmp_path / "image.mhd")


def test_damaged_like(tmp_path):
    (tmp_path / "image.nrrd").write_bytes(b"hello" * 50)
    with pytest.raises(ImageReadError, match="image.nrrd could not be read"):
        write_label_map(
            LabelMap(VOXELS.astype(np.uint8), AFFINE, {}),
            tmp_path / "mask.nrrd",
            tmp_path / "image.nrrd",
        )
