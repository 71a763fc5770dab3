from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from cobot.errors import ConfigError, PromptError
from cobot.intensity import IntensityWindow
from cobot.planes import Slice, plane_across
from cobot.prompts import Prompts
from cobot.sam.answer import prompt_tokens
from cobot.sam.frame import OUTSIDE_LOGIT, Region, SamFrame
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter

WINDOW = IntensityWindow(0.0, 100.0)
BOX = Prompts(box_xyxy=np.array([30.0, 25.0, 60.0, 50.0]))
CLICK = Prompts(points_xy=np.array([[40.0, 30.0]]), positive=np.array([True]))
CLICKS = Prompts(points_xy=np.array([[40.0, 30.0], [70.0, 60.0]]), positive=np.array([True, False]))
CLICK_IN_BOX = replace(CLICK, box_xyxy=BOX.box_xyxy)


def picture(rows=80, cols=100, seed=0):
    pixels = np.random.default_rng(seed).normal(50, 20, (rows, cols)).astype(np.int16)
    pixels[:12] = pixels[-9:] = -1000
    return Slice(pixels, plane_across(np.eye(4), 2), 0, (1.0, 0.8))


@pytest.fixture(scope="module")
def segmenter(loaded_small):
    return SliceSegmenter(loaded_small)


@pytest.fixture(scope="module")
def embedding(segmenter):
    return segmenter.embed([picture()], WINDOW)[0]


def assert_same(one, other):
    np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(one.low_res_logits, other.low_res_logits, rtol=1e-4, atol=1e-4)
    assert one.predicted_iou == pytest.approx(other.predicted_iou, abs=1e-4)


def test_answers_lie_on_the_slices_pixels(segmenter, embedding):
    for answer in segmenter.decode(embedding, [BOX, CLICK]):
        assert answer.mask.shape == (80, 100)
        assert answer.logits.dtype == np.float32
        assert np.array_equal(answer.mask, answer.logits > 0)
        assert answer.low_res_logits.shape == (32, 32)


def test_many_prompts_at_once_equal_one_by_one(segmenter, embedding):
    prompts = [BOX, CLICK, CLICKS, CLICK_IN_BOX, BOX, CLICK]
    together = segmenter.decode(embedding, prompts)
    assert len(together) == len(prompts)
    for answer, prompt in zip(together, prompts, strict=True):
        assert_same(answer, segmenter.decode(embedding, [prompt])[0])


def test_more_prompts_than_one_decoder_call_takes(segmenter, embedding, monkeypatch):
    numbers = 2 * embedding.features.numel()
    monkeypatch.setattr("cobot.sam.answer.IMAGE_NUMBERS_AT_ONCE", numbers)
    prompts = [Prompts(box_xyxy=np.array([10.0, 20.0, 30.0 + step, 50.0])) for step in range(5)]
    for answer, prompt in zip(segmenter.decode(embedding, prompts), prompts, strict=True):
        assert_same(answer, segmenter.decode(embedding, [prompt])[0])


def test_many_slices_at_once_equal_one_by_one(segmenter):
    slices = [picture(), picture(60, 40, seed=1)]
    for one, together in zip(slices, segmenter.embed(slices, WINDOW), strict=True):
        alone = segmenter.embed([one], WINDOW)[0]
        torch.testing.assert_close(alone.features, together.features, rtol=1e-4, atol=1e-4)
        assert (alone.frame, alone.key) == (together.frame, together.key)
    assert segmenter.embed([], WINDOW) == []


def test_equals_segment_anythings_own_model(segmenter, embedding, loaded_small):
    sam = loaded_small.sam
    frame = SamFrame.fit((80, 100), (1.0, 0.8), 64)
    pixels = frame.image(WINDOW.apply(picture().pixels))
    box = torch.from_numpy(frame.box(BOX.box_xyxy)).float()[None]
    with torch.inference_mode():
        features = sam.image_encoder(pixels)
        sparse, dense = sam.prompt_encoder(None, box, None)
        low_res, iou = sam.mask_decoder(
            features, sam.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=False
        )
    answer = segmenter.decode(embedding, [BOX])[0]
    np.testing.assert_allclose(answer.low_res_logits, low_res[0, 0].numpy(), rtol=0, atol=1e-4)
    assert answer.predicted_iou == pytest.approx(iou.item(), abs=1e-4)


def test_a_lone_click_gets_the_best_of_three_masks(segmenter, embedding, loaded_small):
    sam = loaded_small.sam
    point = torch.from_numpy(embedding.frame.points(CLICK.points_xy)).float()[None]
    with torch.inference_mode():
        sparse, dense = sam.prompt_encoder((point, torch.ones(1, 1)), None, None)
        low_res, iou = sam.mask_decoder(
            embedding.features,
            sam.prompt_encoder.get_dense_pe(),
            sparse,
            dense,
            multimask_output=True,
        )
    answer = segmenter.decode(embedding, [CLICK])[0]
    assert answer.predicted_iou == pytest.approx(iou.max().item(), abs=1e-4)
    best = low_res[0, iou.argmax()].numpy()
    np.testing.assert_allclose(answer.low_res_logits, best, rtol=0, atol=1e-4)


def test_an_earlier_answer_refines_the_next(segmenter, embedding):
    first = segmenter.decode(embedding, [BOX])[0]
    refining = replace(BOX, mask_logits=first.low_res_logits)
    second = segmenter.decode(embedding, [refining, BOX])
    assert np.abs(second[0].logits - first.logits).max() > 1e-3
    assert_same(second[1], first)
    wrong = replace(BOX, mask_logits=np.zeros((16, 16), np.float32))
    with pytest.raises(PromptError, match=r"shape \(16, 16\); expected \(32, 32\)"):
        segmenter.decode(embedding, [wrong])


def test_tokens_are_in_segment_anythings_order():
    frame = SamFrame.fit((80, 100), (1.0, 1.0), 256)
    assert prompt_tokens(CLICKS, frame).kind.tolist() == [[1, 0, -1]]
    assert prompt_tokens(BOX, frame).kind.tolist() == [[2, 3]]
    assert prompt_tokens(CLICK_IN_BOX, frame).kind.tolist() == [[1, 2, 3]]


def test_shows_tiny_the_body_and_others_the_whole_slice(loaded_small):
    tiny = replace(loaded_small, shape=replace(loaded_small.shape, crops_to_body=True))
    assert SliceSegmenter(tiny).embed([picture()], WINDOW)[0].frame.region == Region(10, 73, 0, 100)
    assert SliceSegmenter(loaded_small).embed([picture()], WINDOW)[0].frame.region == Region(
        0, 80, 0, 100
    )


def test_crops_so_that_the_prompts_stay_in(loaded_small):
    segmenter = SliceSegmenter(loaded_small, options=SegmenterOptions(crop_to_body=True))
    off_body = replace(CLICKS, points_xy=np.array([[40.0, 30.0], [70.0, 3.0]]))
    answer = segmenter.segment(picture(), WINDOW, [off_body])[0]
    assert (answer.logits[:3] == OUTSIDE_LOGIT).all()
    assert (answer.logits[3:73] > OUTSIDE_LOGIT).all()
    assert (answer.logits[73:] == OUTSIDE_LOGIT).all()
    blind = segmenter.embed([picture()], WINDOW)[0]
    with pytest.raises(PromptError, match=r"\[70.0, 3.0\].*rows 10 to 72, columns 0 to 99"):
        segmenter.decode(blind, [off_body])


def test_refuses_prompts_off_the_slice(segmenter):
    outside = Prompts(points_xy=np.array([[100.6, 5.0]]), positive=np.array([True]))
    with pytest.raises(PromptError, match="reaches outside"):
        segmenter.segment(picture(), WINDOW, [outside])


def test_works_at_a_smaller_side(loaded_small):
    small = SliceSegmenter(loaded_small, options=SegmenterOptions(side_px=32))
    answer = small.segment(picture(), WINDOW, [BOX])[0]
    assert answer.low_res_logits.shape == (16, 16)
    assert answer.mask.shape == (80, 100)
    with pytest.raises(ConfigError, match="100 px, which is not a multiple"):
        SliceSegmenter(loaded_small, options=SegmenterOptions(side_px=100))


def test_keys_tell_apart_what_must_be(loaded_small):
    def key(slice_=None, window=WINDOW, **options):
        segmenter = SliceSegmenter(loaded_small, options=SegmenterOptions(**options))
        return segmenter.embed([slice_ or picture()], window)[0].key

    assert key() == key()
    keys = {
        key(),
        key(picture(seed=1)),
        key(replace(picture(), spacing_mm=(1.0, 1.0))),
        key(window=IntensityWindow(0.0, 90.0)),
        key(adapter_hash="a"),
        key(side_px=32),
        key(crop_to_body=True),
    }
    assert len(keys) == 7


def test_threads_share_one_segmenter(segmenter, embedding):
    def work(seed):
        return segmenter.segment(picture(seed=seed), WINDOW, [BOX])[0].logits

    alone = [work(seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(work, range(3)))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
