"""A member made of repeated pieces is what gzip reads, with its own checks of content and size."""

import gzip

import numpy as np
import pytest
from cobot.io.sparse_gzip import gzip_voxels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("order", ["F", "C"])
@pytest.mark.parametrize("filled", [[], [0], [2], [4], [0, 1, 2, 3, 4]])
def test_gzip_reads_back_the_voxels(dtype: type, order: str, filled: list[int]) -> None:
    voxels = np.zeros((7, 6, 5), dtype, order=order)
    voxels[:, :, filled] = np.arange(7 * 6).reshape(7, 6, 1) * 6
    read = gzip.decompress(b"".join(gzip_voxels(voxels)))
    assert read == voxels.tobytes(order="F")


def test_a_slice_of_a_volume_costs_little_more_than_the_slice() -> None:
    voxels = np.zeros((256, 256, 50), np.uint8, order="F")
    voxels[100:150, 80:140, 20] = 1
    packed = b"".join(gzip_voxels(voxels))
    assert len(packed) < voxels.nbytes / 100
    assert gzip.decompress(packed) == voxels.tobytes(order="F")
