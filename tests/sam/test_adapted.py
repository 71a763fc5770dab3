"""Adapters at inference: folded, on the base's memory, changed while others are being used."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from cobot.adapters.attach import attach_adapters
from cobot.adapters.card import AdapterCard
from cobot.adapters.checkpoint import AdapterFile, collect_adapter
from cobot.adapters.config import AdapterConfig
from cobot.errors import AdapterError
from cobot.intensity import IntensityWindow
from cobot.planes import Slice, plane_across
from cobot.prompts import Prompts
from cobot.sam.adapted import adapted_segmenter, swap_adapter
from cobot.sam.adapted_sam import adapt_sam, adapter_sha256
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter

METHODS = ("lora", "lora+cobot", "adaptformer", "adaptformer+cobot")
WINDOW = IntensityWindow(0.0, 100.0)
BOX = Prompts(box_xyxy=np.array([20.0, 10.0, 40.0, 40.0]))


def picture(seed=0):
    pixels = np.random.default_rng(seed).normal(50, 20, (50, 60)).astype(np.float32)
    return Slice(pixels, plane_across(np.eye(4), 2), 0, (1.0, 1.0))


def make_file(loaded, name, learned=True, **card):
    """An adapter for the base, which is left as it was."""
    encoder, decoder = loaded.sam.image_encoder, loaded.sam.mask_decoder
    with torch.random.fork_rng():
        torch.manual_seed(3)
        handle = attach_adapters(encoder, AdapterConfig.named(name), torch.default_generator)
        made = collect_adapter(handle, AdapterCard("small", loaded.sha256, **card), decoder)
        handle.detach()
        if learned:
            moved = {
                key: value + 0.05 * torch.randn_like(value) for key, value in made.tensors.items()
            }
            made = replace(made, tensors=moved)
    return made


@pytest.fixture
def base(loaded_small):
    """Nothing may change it, so each test checks that afterwards."""
    before = {key: value.clone() for key, value in loaded_small.sam.state_dict().items()}
    modules = [type(module) for module in loaded_small.sam.modules()]
    wanting = [parameter.requires_grad for parameter in loaded_small.sam.parameters()]
    yield loaded_small
    after = loaded_small.sam.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert [type(module) for module in loaded_small.sam.modules()] == modules
    assert [parameter.requires_grad for parameter in loaded_small.sam.parameters()] == wanting


def features(segmenter, seed=0):
    return segmenter.embed([picture(seed)], WINDOW)[0].features


@pytest.mark.parametrize("name", METHODS)
def test_folding_changes_embeddings_by_rounding_only(base, name):
    file = make_file(base, name)
    folded = features(adapted_segmenter(base, file))
    plain = features(SliceSegmenter(base, adapted=adapt_sam(base, file, fold=False)))
    assert (folded - plain).abs().max() <= 1e-5 * plain.abs().max()
    assert (folded - features(SliceSegmenter(base))).abs().max() > 1e-2


@pytest.mark.parametrize("name", METHODS)
def test_an_adapter_that_has_learned_nothing_is_the_base_bit_for_bit(base, name):
    with_adapter, without = (
        adapted_segmenter(base, make_file(base, name, False)),
        SliceSegmenter(base),
    )
    assert torch.equal(features(with_adapter), features(without))
    one, other = (which.segment(picture(), WINDOW, [BOX])[0] for which in (with_adapter, without))
    assert np.array_equal(one.logits, other.logits)
    assert one.predicted_iou == other.predicted_iou


def test_lora_folds_into_plain_layers_and_the_rest_is_the_bases_own_memory(base):
    sam = adapt_sam(base, make_file(base, "lora+cobot")).sam
    assert [type(one) for one in sam.image_encoder.modules()] == [
        type(one) for one in base.sam.image_encoder.modules()
    ]
    own = {parameter.data_ptr() for parameter in base.sam.parameters()}
    changed = [
        name
        for name, value in sam.named_parameters()
        if value.data_ptr() not in own and not name.startswith("mask_decoder.")
    ]
    assert changed == [f"image_encoder.blocks.{index}.attn.qkv.weight" for index in range(2)]


def test_a_trained_decoder_answers_and_the_base_keeps_its_own(base):
    file = make_file(base, "lightweight")
    adapted, plain = adapted_segmenter(base, file), SliceSegmenter(base)
    assert torch.equal(features(adapted), features(plain))
    (one,), (other,) = (which.segment(picture(), WINDOW, [BOX]) for which in (adapted, plain))
    assert np.abs(one.logits - other.logits).max() > 1e-3


def test_the_hash_tells_adapters_apart_by_what_they_do(base):
    file = make_file(base, "lora+cobot")
    changed = dict(file.tensors)
    first = next(iter(changed))
    changed[first] = changed[first].clone()
    changed[first].view(-1)[0] += 1e-6
    others = (
        make_file(base, "lora"),
        replace(file, tensors=changed),
        replace(file, config=replace(file.config, scale=2.0)),
    )
    assert len({adapter_sha256(one) for one in (file, *others)}) == 4
    assert adapter_sha256(replace(file, card=replace(file.card, dataset="x"))) == adapter_sha256(
        file
    )


def test_keys_of_two_adapters_and_of_the_base_differ(base):
    files = [make_file(base, name) for name in METHODS]
    segmenters = [SliceSegmenter(base), *(adapted_segmenter(base, file) for file in files)]
    assert len({one.view(picture(), WINDOW).key for one in segmenters}) == 5


def test_the_side_is_the_users_or_the_adapters_or_the_encoders(base):
    file = make_file(base, "lora", image_size_px=32)
    wanted = SegmenterOptions(side_px=48)
    assert adapted_segmenter(base, file).side_px == 32
    assert adapted_segmenter(base, file, options=wanted).side_px == 48
    assert adapted_segmenter(base, make_file(base, "lora")).side_px == 64
    assert swap_adapter(adapted_segmenter(base, file), None).side_px == 64
    assert swap_adapter(adapted_segmenter(base, file, options=wanted), None).side_px == 48


def test_swapping_there_and_back_gives_the_same_answers(base):
    first, second = make_file(base, "lora+cobot"), make_file(base, "adaptformer+cobot")
    start = adapted_segmenter(base, first)
    middle = swap_adapter(start, second)
    again, none = swap_adapter(middle, first), swap_adapter(middle, None)
    assert torch.equal(features(start), features(again))
    assert torch.equal(features(none), features(SliceSegmenter(base)))
    assert not torch.equal(features(middle), features(again))
    assert start.embedding_key == again.embedding_key != middle.embedding_key


def test_who_is_in_the_middle_of_it_finishes_with_the_old_adapter(base):
    """Threads embed and decode with whatever is current while it is swapped under them."""
    files = [make_file(base, "lora"), make_file(base, "lora+cobot")]
    current = [adapted_segmenter(base, files[0])]
    alone = {
        one.embedding_key: one.segment(picture(), WINDOW, [BOX])[0].logits
        for one in (adapted_segmenter(base, file) for file in files)
    }
    seen, wrong, stop = set(), [], threading.Event()

    def work():
        while not stop.is_set():
            mine = current[0]
            logits = mine.segment(picture(), WINDOW, [BOX])[0].logits
            seen.add(mine.embedding_key)
            if np.abs(logits - alone[mine.embedding_key]).max() > 1e-4:
                wrong.append(mine.embedding_key)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(20):
        current[0] = swap_adapter(current[0], files[turn % 2])
        seen.clear()
        deadline = time.monotonic() + 20
        while current[0].embedding_key not in seen and time.monotonic() < deadline:
            time.sleep(0.001)
    stop.set()
    for thread in threads:
        thread.join()
    assert seen
    assert wrong == []


def test_another_bases_adapter_is_refused_and_nothing_changes(base):
    file = make_file(base, "lora")
    foreign = replace(file, card=replace(file.card, base_sha256="1" * 64))
    using = adapted_segmenter(base, file)
    before = features(using)
    with pytest.raises(AdapterError, match="made for small with base weights SHA-256 1111"):
        swap_adapter(using, foreign)
    broken = AdapterFile(file.config, file.card, dict(list(file.tensors.items())[1:]))
    with pytest.raises(AdapterError, match="1 missing"):
        swap_adapter(using, broken)
    assert torch.equal(features(using), before)
