"""Pretraining: it learns, it resumes bit for bit, and it refuses another run's checkpoint."""

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cobot.errors import ConfigError, WeightsError
from cobot.prompts import tight_box
from cobot.sam.build import build, build_sam, encoder_shape
from cobot.sam.decoder import PromptTokens
from cobot.sam.weights import load_sam, save_half
from cobot.training.augment import TrainingPicture
from cobot.training.clicks import loose_box
from cobot.training.interactive_rounds import (
    Conversation,
    conversation_loss,
    first_prompts,
)
from cobot.training.pretrain import (
    PretrainConfig,
    Pretrainer,
    Progress,
    Stage,
    draw_batch,
    draw_objects,
)
from cobot.training.pretrain_parts import DetailHead, build_optimisers
from cobot.training.slice_bank import RawPicture, SliceBank, build_bank
from lightning_fabric import Fabric
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]
CONFIG = PretrainConfig(stages=(Stage(32, 4, 2, rounds=2),), objects=2, save_every=2)


@pytest.fixture(scope="module")
def bank() -> SliceBank:
    pixels_hu = np.full((60, 60), 20.0)
    pixels_hu[15:40, 20:45] = 200
    organs = (pixels_hu == 200).astype(np.uint8)
    return build_bank([RawPicture(pixels_hu, organs, (1.0, 1.0))] * 2, np.random.default_rng(0))


def trainer(bank: SliceBank, folder: Path, config: PretrainConfig = CONFIG) -> Pretrainer:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(1)
    return Pretrainer(build("tiny"), config, bank, folder, Fabric(accelerator="cpu", devices=1))


def run(pretrainer: Pretrainer) -> list[Progress]:
    seen: list[Progress] = []
    pretrainer.run(seen.append)
    return seen


def test_a_run_cut_off_and_resumed_equals_a_run_in_one_piece(bank, tmp_path):
    whole = trainer(bank, tmp_path / "whole")
    run(whole)
    cut = trainer(bank, tmp_path / "cut")
    with pytest.raises(InterruptedError):
        cut.run(interrupt_after(2))
    resumed = trainer(bank, tmp_path / "cut")
    assert resumed.resume()
    assert resumed.step == 2
    run(resumed)
    for ours, theirs in zip(
        whole.average.state_dict().values(), resumed.average.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


def interrupt_after(step: int):
    """Fail at the step after the checkpoint of `step` was written."""

    def stop(progress: Progress) -> None:
        if progress.step > step:
            raise InterruptedError

    return stop


def test_stages_may_be_added_but_nothing_else_changed(bank, tmp_path):
    run(trainer(bank, tmp_path))
    longer = replace(CONFIG, stages=(*CONFIG.stages, Stage(64, 1, 2, rounds=1)))
    extended = trainer(bank, tmp_path, longer)
    assert extended.resume()
    assert [progress.step for progress in run(extended)] == [5]
    with pytest.raises(ConfigError, match="another configuration"):
        trainer(bank, tmp_path, replace(CONFIG, seed=9)).resume()


def test_a_fresh_folder_has_nothing_to_resume(bank, tmp_path):
    assert not trainer(bank, tmp_path).resume()


def test_the_rate_warms_up_and_falls_within_each_stage():
    config = PretrainConfig(stages=(Stage(32, 100, 1, 1.0), Stage(64, 100, 1, 0.5)))
    rates = [config.learning_rate_at(step) for step in range(200)]
    assert max(rates[:100]) == pytest.approx(1.0)
    assert max(rates[100:]) == pytest.approx(0.5)
    assert rates[0] < rates[5]
    assert rates[99] < 0.03
    with pytest.raises(ConfigError, match="All 200 steps"):
        config.learning_rate_at(200)


def test_first_prompts_are_boxes_or_clicks_on_the_object():
    masks = np.zeros((1, 32, 32), bool)
    masks[0, 8:20, 10:30] = True
    box = first_prompts(masks, 1.0, np.random.default_rng(0))
    assert box.kind.tolist() == [[2, 3]]
    assert (box.xy[0, 1] > box.xy[0, 0]).all()
    for seed in range(10):
        click = first_prompts(masks, 0.0, np.random.default_rng(seed))
        x, y = click.xy[0, 0].int().tolist()
        assert click.kind.tolist() == [[1, -1]]
        assert masks[0, y, x]


def test_the_loss_reaches_every_trained_part():
    torch.manual_seed(0)
    sam = build("tiny").train()
    masks = np.zeros((2, 32, 32), bool)
    masks[:, 8:20, 10:30] = True
    prompts = first_prompts(masks, 0.5, np.random.default_rng(3))
    embeddings = torch.randn(2, 128, 4, 4, requires_grad=True)
    loss, ious = conversation_loss(
        sam, embeddings, torch.from_numpy(masks), prompts, Conversation(2, True)
    )
    loss.backward()
    assert ious.shape == (2,)
    assert embeddings.grad is not None
    assert embeddings.grad.abs().sum() > 0
    silent = [
        name
        for name, parameter in (*sam.mask_decoder.named_parameters(),)
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert [name for name in silent if "hypernetworks" not in name] == []


def test_the_loss_is_a_mean_over_objects_clicks_and_boxes_alike():
    """Else a batch in parts, as memory asks, would have another gradient."""
    torch.manual_seed(0)
    sam = build("tiny").eval()
    masks = np.zeros((3, 32, 32), bool)
    masks[0, 8:20, 10:30] = masks[1, 3:9, 4:12] = masks[2, 20:30, 2:30] = True
    kinds = [
        first_prompts(masks[i : i + 1], float(i > 0), np.random.default_rng(i)) for i in range(3)
    ]
    prompts = PromptTokens(
        torch.cat([one.xy for one in kinds]), torch.cat([one.kind for one in kinds])
    )
    embeddings, truth = torch.randn(3, 128, 4, 4), torch.from_numpy(masks)

    @torch.no_grad()
    def loss(part: slice) -> float:
        asked = PromptTokens(prompts.xy[part], prompts.kind[part])
        return float(
            conversation_loss(sam, embeddings[part], truth[part], asked, Conversation(1, True))[0]
        )

    assert prompts.kind.tolist() == [[1, -1], [2, 3], [2, 3]]
    assert loss(slice(0, 3)) == pytest.approx(
        (loss(slice(0, 1)) + 2 * loss(slice(1, 3))) / 3, rel=1e-5
    )


@pytest.mark.parametrize("draws", [True, False])
def test_an_answer_corrects_what_it_was_shown_in_the_models_that_draw(draws):
    sam = build("tiny")
    with torch.no_grad():
        for mlp in sam.mask_decoder.output_hypernetworks_mlps:
            mlp.layers[-1].weight.zero_()
            mlp.layers[-1].bias.zero_()
    rows, cols = np.mgrid[:64, :64]
    disc = (rows - 31.5) ** 2 + (cols - 31.5) ** 2 < 20**2
    prompts = first_prompts(disc[None], 1.0, np.random.default_rng(0))
    masks, silent = torch.from_numpy(disc[None]), torch.zeros(1, 128, 8, 8)
    _, ious = conversation_loss(sam, silent, masks, prompts, Conversation(3, draws))
    # A decoder that says nothing leaves the box's ellipse standing, round after round.
    assert (ious > 0.8).all() if draws else (ious == 0).all()


def test_two_processes_train_one_model_and_a_finished_run_stays_as_it_is(bank, tmp_path):
    bank.save(tmp_path / "bank_0.npz")
    command = [sys.executable, ROOT / "scripts" / "pretrain_tiny.py", "--openkbp", tmp_path]
    command += ["--out", tmp_path, "--export", tmp_path / "made.safetensors", "--processes", "2"]
    command += ["--device", "cpu", "--stages", "32:3:2:1e-3:1:drawn:0.7:0.4:5/2/2/1"]
    blending_nothing = ["--blend", ROOT / "lib/cobot/sam/tiny.safetensors", "--blend-share", "0"]
    said = []
    for more in ([], blending_nothing):
        ended = subprocess.run([*command, *more], capture_output=True, text=True, check=True)
        said.append((ended.stdout, load_sam("tiny", tmp_path / "made.safetensors").sam))
    assert "going on from step 3" in said[1][0]
    assert f"0.0 of {load_sam('tiny').sha256}" in said[1][0]
    first, second = (sam.state_dict() for _, sam in said)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_blend_lies_between_both_by_its_share(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import pretrain_tiny

    mine, theirs = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    both = (mine.parameters(), theirs.parameters())
    expected = [0.75 * a + 0.25 * b for a, b in zip(*both, strict=True)]
    pretrain_tiny.blend(mine, theirs, 0.25)
    for found, wanted in zip(mine.parameters(), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_run_goes_on_from_weights_of_another_input_side(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import pretrain_tiny

    shape = encoder_shape("tiny")
    small = build_sam(replace(shape, image_size_px=64))
    save_half(small, tmp_path / "small.safetensors", {})
    read = pretrain_tiny.read_tiny(tmp_path / "small.safetensors")
    assert read.image_encoder.pos_embed.shape[1] == shape.grid
    table = small.mask_decoder.iou_token.weight.half().float()
    assert torch.equal(read.mask_decoder.iou_token.weight, table)
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "small.safetensors").read_bytes()[:999])
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name in ("cut", "other", "missing"):
        with pytest.raises(WeightsError, match=rf"{name}.safetensors does not hold the weights"):
            pretrain_tiny.read_tiny(tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize(("text", "freedom"), [("", 1.0), (":0.25", 0.25)])
def test_a_stage_may_say_how_far_pictures_stray(monkeypatch, text, freedom):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import pretrain_tiny

    stage = pretrain_tiny.read_stage(f"128:30/40:8:8e-4:2:drawn:0.7:0.35:5/2/2/1{text}")
    assert (stage.side_px, stage.steps, stage.schedule_steps, stage.freedom) == (
        128,
        30,
        40,
        freedom,
    )


@pytest.mark.parametrize("text", ["-0.1", "1.1", "nan"])
def test_a_share_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import pretrain_tiny

    assert pretrain_tiny.fraction("0.5") == 0.5
    with pytest.raises(argparse.ArgumentTypeError, match=f"{text} must lie between 0 and 1"):
        pretrain_tiny.fraction(text)


def test_a_loose_box_holds_the_tight_one_and_stays_in_the_picture():
    mask = np.zeros((32, 32), bool)
    mask[1:20, 10:30] = True
    tight = tight_box(mask)
    for seed in range(20):
        loose = loose_box(mask, np.random.default_rng(seed))
        assert (loose[:2] <= tight[:2]).all()
        assert (loose[2:] >= tight[2:]).all()
        assert (loose >= 0).all()
        assert (loose <= 31).all()


def picture_with(*layers: np.ndarray) -> TrainingPicture:
    return TrainingPicture(np.full((32, 32), 0.5, np.float32), np.stack(layers), (32, 32))


def test_objects_are_drawn_from_layers_by_weight_and_never_too_small():
    none, large = np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8)
    large[4:12, 4:12], large[20:22, 20:22] = 1, 2
    drawn = draw_objects(picture_with(large, large), (50, (1.0, 0.0)), np.random.default_rng(0))
    assert len(drawn) == 50
    assert all(mask.sum() == 64 for mask in drawn)
    assert draw_objects(picture_with(none, large), (3, (1.0, 0.0)), np.random.default_rng(0)) == []
    fallback = draw_objects(picture_with(none, large), (3, (1.0, 1.0)), np.random.default_rng(0))
    assert [mask.sum() for mask in fallback] == [64] * 3


def test_a_batch_names_the_picture_of_each_object(bank):
    stage = Stage(32, 1, 2)
    batch = draw_batch(bank, 2, (3, stage), np.random.default_rng(0))
    assert batch.pixels.shape == (2, 3, 32, 32)
    assert batch.picture.tolist() == [0, 0, 0, 1, 1, 1]
    assert batch.masks.flatten(1).any(1).all()


def test_a_batch_that_processes_cannot_share_is_refused(bank, tmp_path):
    with pytest.raises(ConfigError, match="A batch of 0 pictures"):
        run(trainer(bank, tmp_path, PretrainConfig(stages=(Stage(32, 1, 0),))))


def test_the_detail_head_is_told_everything_or_nothing():
    torch.manual_seed(0)
    head = DetailHead(build("tiny"))
    pixels = torch.randn(2, 1, 32, 32).repeat(1, 3, 1, 1)
    embeddings = torch.zeros(2, 128, 4, 4)
    with torch.no_grad():
        head.cells.weight.zero_()
        head.cells.bias.zero_()
        assert 0.9 < float(head.loss(embeddings, pixels)) < 1.1
        # A cell is 2 x 2 pixels here, and channel n tells cell n of a token.
        cells = torch.nn.functional.avg_pool2d(pixels[:, 0], 2).reshape(2, 4, 4, 4, 4)
        embeddings[:, :16] = cells.permute(0, 2, 4, 1, 3).reshape(2, 16, 4, 4)
        head.cells.weight[:, :16] = torch.eye(16)
        assert float(head.loss(embeddings, pixels)) < 1e-10


def test_muon_takes_the_matrices_and_adamw_the_rest():
    sam = build("tiny")
    head = DetailHead(sam)
    muon, adamw = build_optimisers(sam, head, 0.1)
    counts = [
        sum(p.numel() for g in one.param_groups for p in g["params"]) for one in (muon, adamw)
    ]
    total = sum(p.numel() for p in (*sam.parameters(), *head.parameters()))
    assert sum(counts) == total
    assert all(p.ndim == 2 for g in muon.param_groups for p in g["params"])
    assert counts[0] > 0.7 * total
