import numpy as np
import pytest
import torch
from cobot.intensity import IntensityWindow
from cobot.planes import plane_across
from cobot.prompts import Prompts
from cobot.sam.embed_many import BatchPlan, SliceJob, embed_many
from cobot.sam.embeddings import EmbeddingService
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.slicing import slice_volume
from cobot.volume import Volume

WINDOW = IntensityWindow(0.0, 100.0)


@pytest.fixture
def segmenter(loaded_small, monkeypatch):
    """Its encoder's batch sizes are counted in `.batches`."""
    made = SliceSegmenter(loaded_small)
    sizes = []

    def encode(self, views):
        sizes.append(len(views))
        return kept(self, views)

    kept = SliceSegmenter.encode
    monkeypatch.setattr(SliceSegmenter, "encode", encode)
    return made, sizes


def jobs(seen=None):
    """Two volumes of different sizes and windows, five slices and two."""
    for seed, shape in ((0, (20, 24, 5)), (1, (30, 20, 2))):
        voxels = np.random.default_rng(seed).normal(50, 20, shape).astype(np.int16)
        volume = Volume(voxels, np.diag([1.0, 2, 4, 1]))
        for slice_ in slice_volume(volume, plane_across(volume.affine, 2)):
            if seen is not None:
                seen.append((seed, slice_.index))
            yield SliceJob(slice_, IntensityWindow(0.0, 90.0 + seed), volume=str(seed))


@pytest.mark.parametrize("ahead", [False, True])
def test_volumes_share_batches_and_the_order_stays(segmenter, ahead):
    made, sizes = segmenter
    found = list(embed_many(made, jobs(), BatchPlan(slices_at_once=3, ahead=ahead)))
    assert sizes == [3, 3, 1]
    assert [(job.volume, job.slice_.index) for job, _ in found] == [
        *(("0", k) for k in range(5)),
        *(("1", k) for k in range(2)),
    ]
    for job, embedding in found:
        alone = made.embed([job.slice_], job.window)[0]
        assert (alone.key, alone.frame) == (embedding.key, embedding.frame)
        torch.testing.assert_close(alone.features, embedding.features, rtol=1e-4, atol=1e-4)


def test_slices_are_asked_for_when_a_batch_needs_them(segmenter):
    seen = []
    embedded = embed_many(segmenter[0], jobs(seen), BatchPlan(slices_at_once=2))
    assert seen == []
    next(embedded)
    assert len(seen) == 2
    next(embedded)
    assert len(seen) == 2


def test_ahead_one_batch_is_asked_for_early(segmenter):
    seen = []
    embedded = embed_many(segmenter[0], jobs(seen), BatchPlan(slices_at_once=2, ahead=True))
    assert seen == []
    next(embedded)
    assert len(seen) == 4
    embedded.close()
    assert len(seen) == 4


def test_what_a_cache_holds_is_not_encoded(segmenter):
    made, sizes = segmenter
    plan = BatchPlan(4, EmbeddingService())
    first = list(embed_many(made, jobs(), plan))
    again = list(embed_many(made, jobs(), plan))
    assert sizes == [4, 3]
    assert all(one[1] is other[1] for one, other in zip(first, again, strict=True))
    assert list(embed_many(made, [], plan)) == []


def test_a_crop_holds_the_prompts(loaded_small):
    made = SliceSegmenter(loaded_small, options=SegmenterOptions(crop_to_body=True))
    voxels = np.zeros((60, 60, 1), np.int16)
    voxels[10:50, 10:50] = 60
    volume = Volume(voxels, np.eye(4))
    (slice_,) = slice_volume(volume, plane_across(volume.affine, 2))
    corner = Prompts(points_xy=np.array([[1.0, 2.0]]), positive=np.array([True]))
    asked = [SliceJob(slice_, WINDOW), SliceJob(slice_, WINDOW, (corner,))]
    (_, blind), (_, seeing) = embed_many(made, asked)
    assert blind.frame.region.row_start == 8
    assert (seeing.frame.region.row_start, seeing.frame.region.col_start) == (2, 1)
