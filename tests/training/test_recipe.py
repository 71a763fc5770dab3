"""The paper's numbers, the schedule, the loss, the prompts."""

import numpy as np
import pytest
import torch
from cobot.errors import ConfigError
from cobot.sam.decoder import BOX_FIRST, NOT_A_POINT
from cobot.training.loss import dice_ce
from cobot.training.recipe import RECIPES, Recipe
from cobot.training.schedule import rate_factor
from cobot.training.stats import TrainStats
from cobot.training.training_prompts import draw_prompts, widened_box
from hypothesis import given
from hypothesis import strategies as st
from monai.losses import DiceCELoss


def test_the_papers_recipe_is_the_papers():
    paper = RECIPES["paper"]
    assert (paper.optimiser, paper.learning_rate, paper.decoder_rate) == ("adam", 1.25e-6, 1.25e-6)
    assert (paper.orchestration_rate, paper.weight_decay) == (1.25e-4, 5e-4)
    assert (paper.batch_size, paper.epochs, paper.patience) == (1, 25, 0)
    assert (paper.prompts, paper.rounds, paper.schedule) == ("box", 1, "constant")
    assert rate_factor(paper, 7, 10) == 1.0


def test_a_recipe_is_changed_by_name():
    assert Recipe.named("default", {"negative_ratio": 1, "epochs": 3}).negative_ratio == 1.0


def test_a_cpu_makes_few_epochs_and_the_papers_stay():
    assert (RECIPES["default"].epochs, RECIPES["default"].on_cpu().epochs) == (20, 3)
    assert Recipe.named("default", {"epochs": 2}).on_cpu().epochs == 2
    assert RECIPES["paper"].on_cpu() == RECIPES["paper"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"epoch": 3}, r"unknown settings \['epoch'\]"),
        ({"name": "mine"}, r"unknown settings \['name'\]"),
        ({"epochs": 0}, "epochs 0 must be at least 1"),
        ({"epochs": 2.5}, "epochs 2.5 must be a whole number"),
        ({"learning_rate": "fast"}, "learning_rate 'fast' must be a number"),
        ({"learning_rate": 1.5}, r"must lie in \(0, 1\)"),
        ({"prompts": "scribble"}, "must be one of box, box\\+clicks"),
        ({"weight_decay": -0.1}, "must be finite and not negative"),
        ({"clip_norm": float("nan")}, "clip_norm nan must be finite"),
        ({"score_weight": float("inf")}, "score_weight inf must be finite"),
        ({"warmup_steps": -3}, "warmup_steps -3 must be finite and not negative"),
        ({"loose_boxes": 1.5}, r"loose_boxes 1.5 must lie in \[0, 1\]"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, why):
    with pytest.raises(ConfigError, match=why):
        Recipe.named("default", changes)
    with pytest.raises(ConfigError, match="Unknown recipe 'best'"):
        Recipe.named("best")


def test_cosine_warms_up_and_falls_to_its_floor():
    recipe = RECIPES["default"]
    factors = [rate_factor(recipe, step, 1000) for step in range(1000)]
    assert factors[:50] == pytest.approx([(n + 1) / 50 for n in range(50)])
    assert factors[50] == 1.0
    assert factors[-1] == pytest.approx(0.02, abs=1e-4)
    assert all(a >= b for a, b in zip(factors[50:], factors[51:], strict=False))


def test_the_loss_is_monais():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 8, 8, generator=generator)
    target = torch.rand(3, 1, 8, 8, generator=generator).round()
    ours = dice_ce(logits, target)
    assert ours.shape == (3, 1)
    theirs = DiceCELoss(sigmoid=True, squared_pred=True)(logits, target)
    assert torch.allclose(ours.mean(), theirs)


def test_the_empty_answer_to_an_empty_target_costs_nothing():
    nothing = torch.zeros(1, 1, 8, 8)
    assert float(dice_ce(nothing - 40, nothing)) == pytest.approx(0, abs=1e-4)
    assert float(dice_ce(nothing + 4, nothing)) > 4


@given(seed=st.integers(0, 10**6), side=st.sampled_from([64, 256, 1024]))
def test_the_papers_box_grows_by_up_to_50_px_at_1024(seed, side):
    box = np.array([0.3, 0.4, 0.5, 0.6]) * side
    grown = (widened_box(box, side, np.random.default_rng(seed)) - box) * (-1, -1, 1, 1)
    assert ((grown >= 0) & (grown <= 50 * side / 1024)).all()


def test_the_papers_box_stays_in_the_frame():
    box = widened_box(np.array([0.0, 0, 63, 63]), 64, np.random.default_rng(0))
    assert box.tolist() == [0, 0, 63, 63]


def test_prompts_are_boxes_or_clicks_on_the_object():
    masks = np.zeros((200, 32, 32), bool)
    masks[:, 10:20, 5:15] = True
    boxes = np.tile([5.0, 10, 14, 19], (200, 1))
    drawn = draw_prompts(masks, boxes, "box+clicks", np.random.default_rng(0))
    clicks = drawn.kind[:, 1] == NOT_A_POINT
    assert 40 < int(clicks.sum()) < 120
    for (x, y), _ in drawn.xy[clicks].tolist():
        assert masks[0, int(y), int(x)]
    only_boxes = draw_prompts(masks, boxes, "box", np.random.default_rng(0))
    assert (only_boxes.kind[:, 0] == BOX_FIRST).all()


def test_a_share_of_the_boxes_is_loose():
    masks = np.zeros((400, 64, 64), bool)
    masks[:, 30:40, 20:30] = True
    box = np.array([20.0, 30, 29, 39])
    rng = np.random.default_rng(0)
    drawn = draw_prompts(masks, np.tile(box, (400, 1)), "box+clicks", rng, loose=0.5)
    boxes = drawn.xy[drawn.kind[:, 0] == BOX_FIRST].reshape(-1, 4).numpy()
    outwards = (boxes - box) * (-1, -1, 1, 1)
    # Half of the ten pixels of a side at most; a shaken box goes both ways.
    loose = outwards[(outwards >= 0).all(axis=1)]
    assert 0.4 < len(loose) / len(boxes) < 0.65
    assert 4.5 < loose.max() <= 5.0


def test_an_absent_structure_is_always_asked_for_by_its_box():
    masks, boxes = np.zeros((50, 32, 32), bool), np.tile([5.0, 10, 14, 19], (50, 1))
    drawn = draw_prompts(masks, boxes, "box+clicks", np.random.default_rng(0))
    assert (drawn.kind[:, 0] == BOX_FIRST).all()


def test_stats_carry_slicers_keys_and_are_finite():
    running = TrainStats(2, 5, 1_700_000_000, 61.4, float("nan"), done=False).to_dict()
    assert running == {
        "epoch": 2, "total_epochs": 5, "start_ts": 1_700_000_000,
        "current_time": "0:01:01", "best_metric": 0.0,
    }  # fmt: skip
    done = TrainStats(5, 5, 1_700_000_000, 3600.0, 0.91234, done=True).to_dict()
    assert done["total_time"] == "1:00:00"
    assert "current_time" not in done
    assert done["best_metric"] == 0.9123
