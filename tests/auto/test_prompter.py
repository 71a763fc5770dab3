"""What is learnt: where labels are, whether they are there, and nothing of the model."""

import numpy as np
import pytest
import torch
from cobot.auto import bank
from cobot.auto.bank import EmbeddedSlices, chosen_slices, framed_labels, slice_quota
from cobot.auto.learn import guess_loss, learn_prompts
from cobot.auto.prompter import LabelGuess, LabelPrompter
from cobot.auto.recipe import AutoRecipe
from cobot.auto.settings import PrompterShape
from cobot.errors import ConfigError
from cobot.sam.frame import Region, SamFrame


def toy_slices(count: int = 24) -> EmbeddedSlices:
    """Embeddings whose first channels are bright where a label lies; half lack the second label."""
    rng = np.random.default_rng(0)
    labels = np.zeros((count, 64, 64), np.uint16)
    for number in range(count):
        x, y = rng.integers(0, 5, 2) * 8
        labels[number, y : y + 24, x : x + 24] = 1
        if number % 2:
            labels[number, 48:, 48:] = 2
    features = rng.normal(0, 0.1, (count, 128, 8, 8))
    for rank in (1, 2):
        features[:, rank] += (labels[:, 4::8, 4::8] == rank) * 3
    return EmbeddedSlices(
        features.astype(np.float16), labels, np.ones((count, 2), bool), {"a": 1, "b": 1}
    )


def test_labels_learn_where_they_lie_and_whether_they_are_there(base):
    slices = toy_slices()
    recipe = AutoRecipe(tokens=2, hidden=16, guess_steps=60, decoder_steps=2, batch_size=8)
    losses: list[float] = []
    prompter = learn_prompts(slices, base.sam, recipe, 0, lambda a, b, loss: losses.append(loss))
    assert np.mean(losses[50:60]) < 0.5 * np.mean(losses[:10])
    guess = prompter(torch.from_numpy(slices.features).float())
    likely = torch.sigmoid(guess.presence)[:, 1].numpy()
    assert likely[1::2].min() > 0.5 > likely[::2].max()
    truth = torch.from_numpy((slices.labels[:, 1::2, 1::2] == 1).astype(np.float32))
    found = guess.shown[:, 0] > 0
    assert float((found == (truth > 0)).float().mean()) > 0.9


def test_learning_leaves_the_model_as_it_was(base):
    before = {name: value.clone() for name, value in base.sam.state_dict().items()}
    recipe = AutoRecipe(tokens=2, hidden=8, guess_steps=1, decoder_steps=2, batch_size=4)
    prompter = learn_prompts(toy_slices(8), base.sam, recipe, 0)
    start = LabelPrompter(prompter.shape, 2, torch.Generator().manual_seed(0))
    assert not torch.equal(prompter.carried, start.carried)
    assert all(torch.equal(value, before[name]) for name, value in base.sam.state_dict().items())
    assert all(value.grad is None for value in base.sam.parameters())


def test_the_same_seed_learns_the_same(base):
    recipe = AutoRecipe(tokens=2, hidden=8, guess_steps=2, decoder_steps=2, batch_size=4)
    one, same, other = (learn_prompts(toy_slices(8), base.sam, recipe, seed) for seed in (0, 0, 1))
    assert all(
        torch.equal(value, same.state_dict()[name]) for name, value in one.state_dict().items()
    )
    assert not torch.equal(one.tokens, other.tokens)


def test_a_label_that_was_not_drawn_costs_nothing():
    guess = LabelGuess(torch.zeros(1, 2), torch.zeros(1, 2, 8, 8, requires_grad=True))
    target = torch.zeros(1, 2, 8, 8)
    known = torch.tensor([[True, False]])
    guess_loss(guess, target, torch.zeros(1, 2, dtype=torch.bool), known).backward()
    assert guess.shown.grad[0, 0].abs().sum() > 0
    assert guess.shown.grad[0, 1].abs().sum() == 0


def test_each_label_has_tokens_and_presence_of_its_own():
    prompter = LabelPrompter(PrompterShape(128, 3, 8), 4, torch.Generator().manual_seed(0))
    guess = prompter(torch.randn(2, 128, 6, 6))
    assert prompter.tokens.shape == (4, 3, 128)
    assert guess.presence.shape == (2, 4)
    assert guess.shown.shape == (2, 4, 24, 24)
    guess.presence[:, 1].sum().backward()
    touched = prompter.presence.grad.abs().sum(1) > 0
    assert touched.tolist() == [False, True, False, False]


def test_slices_with_a_label_come_first_and_some_empty_ones_with_them():
    held = np.zeros(40, bool)
    held[10:20] = True
    chosen = chosen_slices(held, 100)
    assert set(range(10, 20)) <= set(chosen)
    assert len(chosen) == 15
    assert len(chosen_slices(held, 6)) == 6


def test_pictures_are_fewer_where_they_would_not_fit(model, task, monkeypatch):
    # At 64 px an embedding has 8 x 8 places of 128 + 64 numbers, two bytes each: 24,576 bytes.
    recipe = AutoRecipe(slices=100, variants=2)
    assert slice_quota(5, task, model.segmenter, recipe) == 20
    monkeypatch.setattr(bank, "BANK_BYTES", 2 * 24_576 * 30)
    assert slice_quota(5, task, model.segmenter, recipe) == 6
    assert slice_quota(50, task, model.segmenter, recipe) == 1


def test_labels_in_the_frame_lie_where_the_frame_shows_them():
    labels = np.zeros((20, 10), np.uint16)
    labels[12:16, 2:6] = 3
    # Rows 10 to 19 and all columns fill a square of 20 px: two frame pixels a slice pixel.
    frame = SamFrame.fit((20, 10), (1.0, 1.0), 20, Region(10, 20, 0, 10))
    found = framed_labels(labels, frame, 20)
    expected = np.zeros((20, 20), np.uint16)
    expected[4:12, 4:12] = 3
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokens": 0}, "tokens 0"),
        ({"speed": 1}, "unknown settings"),
        ({"tokens": "x"}, "tokens 'x' must be a whole number"),
        ({"slices": 10.5}, "slices 10.5 must be a whole number"),
        ({"learning_rate": "fast"}, "learning_rate 'fast' must be a number"),
        ({"weight_decay": float("nan")}, "weight_decay nan must be finite"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        AutoRecipe.changed(changes)
