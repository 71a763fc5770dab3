"""What rounding embeddings to bfloat16 on disk does to masks."""

import numpy as np
import pytest
import torch
from cobot.datasets.phantom import abdomen_phantom
from cobot.intensity import IntensityWindow
from cobot.planes import plane_across
from cobot.prompts import Prompts
from cobot.sam.build import build, encoder_shape
from cobot.sam.embedding_disk import EmbeddingDisk
from cobot.sam.embeddings import EmbeddingService, WantedSlice
from cobot.sam.segmenter import SliceSegmenter
from cobot.sam.weights import LoadedSam, default_weights_path, load_sam
from cobot.slicing import cut_slice

WINDOW = IntensityWindow(-160, 240)


@pytest.fixture(scope="module")
def segmenter():
    """The trained tiny where its weights are, else an untrained one."""
    if default_weights_path("tiny").is_file():
        return SliceSegmenter(load_sam("tiny"))
    torch.manual_seed(0)
    return SliceSegmenter(LoadedSam(build("tiny"), encoder_shape("tiny"), "0" * 64))


@pytest.fixture(scope="module")
def slices():
    """Two slices of a phantom patient, each with a box around every organ on it."""
    phantom = abdomen_phantom(1, (128, 108, 10), (3.0, 3.0, 16.0))
    plane = plane_across(phantom.volume.affine, 2)
    found = []
    for index in (4, 6):
        picture = plane.picture(phantom.truth.voxels, index)
        places = [np.argwhere(picture == value) for value in np.unique(picture[picture > 0])]
        boxes = [
            Prompts(box_xyxy=np.concatenate([rc.min(0)[::-1], rc.max(0)[::-1]]).astype(float))
            for rc in places
            if len(rc) > 60
        ]
        found.append((cut_slice(phantom.volume, plane, index), boxes))
    return found


def dice(one, other):
    return 2 * (one & other).sum() / max(1, one.sum() + other.sum())


def test_masks_from_the_disk_are_those_from_memory_but_for_single_pixels(
    segmenter, slices, tmp_path
):
    fresh, restarted = (EmbeddingService(disk=EmbeddingDisk(tmp_path, 10**8)) for _ in range(2))
    scores = []
    for slice_, boxes in slices:
        wanted = WantedSlice(segmenter.view(slice_, WINDOW, boxes))
        before, after = (service.get(segmenter, wanted) for service in (fresh, restarted))
        assert (before.source, after.source) == ("encoder", "disk")
        one, other = (segmenter.decode(found.embedding, boxes) for found in (before, after))
        scores += [dice(a.mask, b.mask) for a, b in zip(one, other, strict=True) if a.mask.any()]
    assert len(scores) >= 8
    assert min(scores) >= 0.995
