"""Gradients of a batch: the same however it is cut, and what happens when it does not fit."""

import logging
from dataclasses import replace

import pytest
import torch
from cobot.adapters.config import AdapterConfig
from cobot.errors import AdapterError, ConfigError
from cobot.sam.embeddings import EmbeddingService
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.training import step as step_module
from cobot.training.corrections import find_corrections
from cobot.training.embedders import FrozenEmbeddings, WholeEncoder
from cobot.training.hardware import Hardware
from cobot.training.item_feed import feed
from cobot.training.items import ItemMaker
from cobot.training.processes import flat_gradients
from cobot.training.recipe import Recipe
from cobot.training.slice_cache import SliceCache
from cobot.training.slice_dataset import SliceDataset
from cobot.training.step import Stepper
from cobot.training.task import TrainingTask
from cobot.training.trainee import build_trainee

TASK = TrainingTask("discs", {1: "ball", 2: "rod"}, cut="k").shown_in("-200,300")
RECIPE = Recipe.named("default", {"rounds": 1, "prompts": "box"})


@pytest.fixture
def maker(data, loaded, tmp_path):
    cache = SliceCache(tmp_path / "c", TASK)
    dataset = SliceDataset(cache, find_corrections(data), TASK.window_groups())
    segmenter = SliceSegmenter(loaded, "cpu", SegmenterOptions(side_px=32))
    return ItemMaker(dataset, segmenter, RECIPE, 0)


def stepper(loaded, method="lora+cobot", frozen=None, checkpointing=False):
    trainee = build_trainee(loaded, AdapterConfig.named(method), 0)
    embedder = frozen or WholeEncoder(trainee.sam.image_encoder, checkpointing)
    return trainee, Stepper(Hardware(device="cpu").start(), trainee, RECIPE, embedder)


def gradients(loaded, items, micro_batch, checkpointing=False):
    trainee, taker = stepper(loaded, checkpointing=checkpointing)
    result = taker.take(items, micro_batch, 3)
    return flat_gradients(trainee.parameters), result


def test_items_hold_what_inference_shows(maker):
    item = maker.make(1, 0)
    labelled = maker.dataset.read(maker.dataset.samples[1])
    assert item.masks.shape == (2, 32, 32)
    assert item.prompts.xy.shape == (2, 2, 2)
    boxes = [one.box_xyxy for one in labelled.objects]
    shown = maker.shown_by.view(labelled.slice_, labelled.window, [])
    assert torch.equal(item.view.frame.image(item.view.unit), shown.frame.image(shown.unit))
    for mask, box in zip(item.masks, boxes, strict=True):
        x0, y0, x1, y1 = item.view.frame.box(box).round().clip(0, 31).astype(int)
        assert mask[y0 : y1 + 1, x0 : x1 + 1].sum() > 0.8 * mask.sum() > 0


def test_threads_change_nothing(maker):
    batches = [[0, 1], [2], [3, 4], [5]]
    alone, threaded = (list(feed(maker, batches, 1, loaders)) for loaders in (0, 3))
    for one, other in zip(sum(alone, []), sum(threaded, []), strict=True):
        assert torch.equal(one.prompts.xy, other.prompts.xy)
        assert one.view.key == other.view.key


def test_the_paper_trains_adapter_and_decoder_at_two_rates(loaded):
    trainee = build_trainee(loaded, AdapterConfig.named("adaptformer+cobot"), 0)
    groups = trainee.groups(Recipe.named("paper"))
    assert [group["lr"] for group in groups] == [1.25e-6, 1.25e-4, 1.25e-6]
    parts = [sum(one.numel() for one in group["params"]) for group in groups]
    orchestration = sum(p.numel() for p in trainee.handle.orchestration_parameters().values())
    decoder = sum(p.numel() for p in trainee.sam.mask_decoder.parameters())
    assert parts[1:] == [orchestration, decoder]
    assert sum(parts) == sum(p.numel() for p in trainee.sam.parameters() if p.requires_grad)


def test_training_leaves_the_base_alone(maker, loaded):
    before = {name: value.clone() for name, value in loaded.sam.state_dict().items()}
    trainee, taker = stepper(loaded)
    taker.take([maker.make(0, 0)], 1, 0)
    torch.optim.SGD(trainee.parameters, 1.0).step()
    assert all(torch.equal(value, before[name]) for name, value in loaded.sam.state_dict().items())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("samples", [(0, 2, 3, 5), (0, 2, 1, 4)])
def test_micro_batches_give_the_batchs_gradient(maker, loaded, samples, checkpointing):
    items = [maker.make(sample, 0) for sample in samples]
    uneven = samples == (0, 2, 1, 4)
    assert [len(item.masks) for item in items] == ([1, 1, 2, 2] if uneven else [1, 1, 1, 1])
    whole, first = gradients(loaded, items, 4)
    parts, second = gradients(loaded, items, 2, checkpointing=checkpointing)
    assert first.loss == pytest.approx(second.loss, rel=1e-5)
    assert torch.allclose(whole, parts, rtol=1e-3, atol=1e-6)
    assert whole.abs().max() > 0


def test_out_of_memory_halves_the_micro_batch_and_says_so(maker, loaded, monkeypatch, caplog):
    items = [maker.make(sample, 0) for sample in (0, 2, 3, 5)]
    real = step_module.conversation_loss

    def hungry(sam, features, *rest):
        if len(features) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(sam, features, *rest)

    want, _ = gradients(loaded, items, 1)
    monkeypatch.setattr(step_module, "conversation_loss", hungry)
    with caplog.at_level(logging.WARNING):
        got, result = gradients(loaded, items, 4)
    assert result.micro_batch == 1
    assert torch.equal(got, want)
    assert [record.message for record in caplog.records] == [
        "GPU out of memory with 4 slices at once: going on with 2; the batch stays as large.",
        "GPU out of memory with 2 slices at once: going on with 1; the batch stays as large.",
    ]


def test_memory_too_small_for_one_slice_names_the_cures(maker, loaded, monkeypatch):
    def starving(*given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(step_module, "conversation_loss", starving)
    with pytest.raises(ConfigError, match="does not hold one slice. Use --checkpointing"):
        gradients(loaded, [maker.make(0, 0)], 1)


def test_a_loss_that_is_no_number_names_case_and_slice(maker, loaded):
    good, bad = maker.make(0, 0), maker.make(4, 0)
    unit = bad.view.unit.copy()
    unit[5, 5] = float("nan")
    damaged = replace(bad, view=replace(bad.view, unit=unit))
    with pytest.raises(ConfigError, match=r"The loss is nan on case 'image_1', slice 2\. Look at"):
        gradients(loaded, [good, damaged], 2)


def test_kept_embeddings_are_the_encoders_and_are_computed_once(maker, loaded):
    items = [maker.make(0, 0), maker.make(0, 1)]
    frozen = FrozenEmbeddings(EmbeddingService(), maker.shown_by)
    first, again = frozen.of(items[:1]), frozen.of(items[1:])
    (want,) = maker.shown_by.encode([items[0].view])
    assert torch.allclose(first, want.features, rtol=1e-2)
    assert torch.equal(first, again)
    trainee, taker = stepper(loaded, "lightweight", frozen=frozen)
    taker.take(items, 2, 0)
    assert all(one.grad is not None for one in trainee.sam.mask_decoder.transformer.parameters())
    assert all(one.grad is None for one in trainee.sam.image_encoder.parameters())


def test_freeze_has_nothing_to_train(loaded):
    with pytest.raises(ConfigError, match="'freeze' trains nothing"):
        build_trainee(loaded, AdapterConfig.named("freeze"), 0)


def test_going_on_with_another_kind_of_adapter_is_refused(loaded):
    from cobot.adapters.card import AdapterCard

    lora = build_trainee(loaded, AdapterConfig.named("lora"), 0)
    file = lora.snapshot(AdapterCard("tiny", loaded.sha256))
    with pytest.raises(AdapterError, match=r"go on with is lora \(V 4\), not lora\+cobot"):
        build_trainee(loaded, AdapterConfig.named("lora+cobot"), 0, file)
    with pytest.raises(AdapterError, match=r"lora \(V 4\), not lora \(V 4, blocks \[7\]\)"):
        build_trainee(loaded, AdapterConfig.named("lora", blocks=(7,)), 0, file)
    again = build_trainee(loaded, AdapterConfig.named("lora"), 7, file)
    assert all(torch.equal(again.tensors()[name], file.tensors[name]) for name in file.tensors)


def test_hardware_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="Unknown device 'tpu'"):
        Hardware(device="tpu")
    for wrong in ({"devices": 0}, {"prefix_bytes": -1}):
        with pytest.raises(ConfigError, match="expected 1 or more"):
            Hardware(**wrong)


def test_a_cpu_trains_in_bf16_only_when_told_to():
    cpu = torch.device("cpu")
    assert Hardware().precision_on(cpu) == "fp32"
    assert Hardware(precision="bf16").precision_on(cpu) == "bf16"
    assert Hardware(precision="fp32").precision_on(torch.device("cuda")) == "fp32"


def test_a_narrow_trainee_leaves_the_base_and_what_learns_in_full_precision(loaded):
    trainee = build_trainee(loaded, AdapterConfig.named("lora+cobot"), 0, narrow=True)
    encoder = trainee.sam.image_encoder
    assert encoder.blocks[0].mlp.lin1.weight.dtype == torch.bfloat16
    assert encoder.blocks[0].norm1.weight.dtype == torch.float32
    assert {one.dtype for one in trainee.parameters} == {torch.float32}
    assert {one.dtype for one in loaded.sam.parameters()} == {torch.float32}
