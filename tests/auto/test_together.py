"""Labels learnt with the adapter: it is taught, a run resumes, and the head is gone on from."""

from dataclasses import replace

import pytest
import torch
from cobot.adapters.config import AdapterConfig
from cobot.adapters.store import AdapterStore
from cobot.auto import train as auto_train
from cobot.auto.bank import embed_cases
from cobot.auto.learn import learn_prompts
from cobot.auto.prompter import LabelGuess, LabelPrompter
from cobot.auto.recipe import AutoRecipe
from cobot.auto.settings import PrompterShape
from cobot.auto.together import FindingLabels, LabelsTogether, learnt_head, together_or_none
from cobot.errors import ConfigError
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.training.embedders import WholeEncoder
from cobot.training.hardware import Hardware
from cobot.training.items import ItemMaker, TrainingItem
from cobot.training.recipe import Recipe
from cobot.training.request import TrainingRequest
from cobot.training.run_state import load_state
from cobot.training.slice_cache import SliceCache
from cobot.training.slice_dataset import SliceDataset
from cobot.training.step import Stepper
from cobot.training.train import train_adapter
from cobot.training.trainee import build_trainee

AUTO = AutoRecipe(
    tokens=2, hidden=8, slices=6, variants=1, guess_steps=2, decoder_steps=1, batch_size=2,
    questions=2, together_weight=0.5,
)  # fmt: skip
RECIPE = Recipe.named(
    "default", {"epochs": 1, "batch_size": 2, "warmup_steps": 0, "save_every": 2, "rounds": 1}
)


@pytest.fixture
def items(cases, task, base, tmp_path) -> ItemMaker:
    dataset = SliceDataset(SliceCache(tmp_path / "slices", task), cases, task.window_groups())
    segmenter = SliceSegmenter(base, "cpu", SegmenterOptions(side_px=64, precision="fp32"))
    return ItemMaker(dataset, segmenter, RECIPE, 0)


@pytest.fixture
def request_in(shapes, task, tmp_path):
    def make(name: str) -> TrainingRequest:
        return TrainingRequest(
            data=shapes, task=task, store=tmp_path / name, recipe=RECIPE, side_px=64,
            adapter=AdapterConfig.named("lora"), hardware=Hardware(device="cpu"),
        )  # fmt: skip

    return make


def told(shown: torch.Tensor, presence: torch.Tensor) -> LabelPrompter:
    """A head that says what it was told, wherever it looks."""
    sizes = PrompterShape(128, AUTO.tokens, AUTO.hidden)
    prompter = LabelPrompter(sizes, 2, torch.Generator().manual_seed(0))
    prompter.forward = lambda features: LabelGuess(presence, shown)
    return prompter


def both(items: ItemMaker) -> TrainingItem:
    """A slice with both structures."""
    every = (items.make(index, 0) for index in range(len(items.dataset)))
    return next(item for item in every if len(item.labelled.objects) == 2)


def truth_of(item: TrainingItem) -> torch.Tensor:
    """Mask logits of ball and rod as the frame shows them, ±6 in 32 x 32 cells of 2 px."""
    order = [one.value for one in item.labelled.objects]
    framed = [item.view.frame.mask_from_pixels(one.mask) for one in item.labelled.objects]
    masks = torch.stack([framed[order.index(value)] for value in (2, 5)])
    return 12 * torch.nn.functional.avg_pool2d(masks[None].float(), 2) - 6


def test_the_loss_asks_for_every_structure_where_the_frame_shows_it(items):
    item, features = both(items), torch.zeros(1, 128, 8, 8)
    right, there = truth_of(item), torch.full((1, 2), 8.0)

    def loss(shown: torch.Tensor, presence: torch.Tensor) -> float:
        return float(FindingLabels(told(shown, presence), (2, 5), AUTO).loss([item], features))

    assert loss(right, there) < 0.25
    assert loss(right.roll(3, dims=2), there) > 2 * loss(right, there)
    assert loss(right.flip(1), there) > 1
    assert loss(right, -there) > 5


def test_a_structure_that_was_not_drawn_in_a_case_costs_nothing(items):
    item, features = both(items), torch.zeros(1, 128, 8, 8)
    partial = replace(item, labelled=replace(item.labelled, known=frozenset({2})))
    shown, there = truth_of(item), torch.full((1, 2), 8.0)
    wrong = shown.clone()
    wrong[:, 1] = -wrong[:, 1]
    losses = [
        float(FindingLabels(told(guess, there), (2, 5), AUTO).loss([partial], features))
        for guess in (shown, wrong)
    ]
    assert losses[0] == losses[1]
    nothing = replace(item, labelled=replace(item.labelled, known=frozenset()))
    assert float(FindingLabels(told(wrong, there), (2, 5), AUTO).loss([nothing], features)) == 0
    assert item.labelled.known == {2, 5}


def test_gradients_reach_the_adapter_and_the_head_alone(items, base, task):
    trainee = build_trainee(base, AdapterConfig.named("lora"), 0)
    with torch.no_grad():
        for name, value in trainee.handle.parameters().items():
            value.add_(0.01 * ("b" in name.rsplit(".", 1)[-1].lower()))
    beside = LabelsTogether(AUTO).build(base.shape, task, 0)
    trainee = replace(trainee, beside=beside)
    embedder = WholeEncoder(trainee.sam.image_encoder)
    stepper = Stepper(Hardware(device="cpu").start(), trainee, RECIPE, embedder)
    with_labels = stepper.take([both(items)], 1, 0).loss
    assert all(one.grad is not None and one.grad.any() for one in trainee.beside_parameters)
    assert beside.prompter.tokens.grad is None
    assert len(trainee.groups(RECIPE)[-1]["params"]) == len(trainee.beside_parameters)
    alone = Stepper(
        Hardware(device="cpu").start(), replace(trainee, beside=None), RECIPE, embedder
    ).take([both(items)], 1, 0)
    assert with_labels > alone.loss


def interrupt_at(step: int):
    """Fail after that step."""

    def stop(progress) -> None:
        if progress.step == step:
            raise InterruptedError

    return stop


def test_a_run_cut_off_ends_as_one_in_one_piece_head_included(request_in):
    plan = LabelsTogether(AUTO)
    whole = train_adapter(request_in("whole"), lambda now: None, beside=plan)
    with pytest.raises(InterruptedError):
        train_adapter(request_in("cut"), interrupt_at(3), beside=plan)
    cut = train_adapter(request_in("cut"), lambda now: None, beside=plan)
    ours, theirs = (load_state(one.folder, one.folder.name).best for one in (whole, cut))
    assert any(name.startswith("beside.prompter.") for name in ours)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_the_adapter_learns_from_it_and_its_file_says_so_and_holds_no_head(request_in):
    request = request_in("store")
    plain = train_adapter(request, lambda now: None)
    taught = train_adapter(request, lambda now: None, beside=LabelsTogether(AUTO))
    assert plain.folder != taught.folder
    store = AdapterStore(request.store)
    files = [store.read(one.name) for one in store.versions()]
    recipes = [file.card.recipe.get("label_together_weight") for file in files]
    assert recipes[0] is None
    assert set(recipes) <= {None, AUTO.together_weight}
    bests = [load_state(one.folder, one.folder.name).best for one in (plain, taught)]
    lora = [name for name in bests[0] if "lora" in name]
    assert lora
    assert any(not torch.equal(bests[0][name], bests[1][name]) for name in lora)
    assert not any(name.startswith("beside") for file in files for name in file.tensors)


def test_label_prompts_go_on_from_the_head(request_in, cases, task, model):
    request = request_in("store")
    outcome = train_adapter(request, lambda now: None, beside=LabelsTogether(AUTO))
    head = learnt_head(outcome.folder, 2, AUTO.hidden)
    best = load_state(outcome.folder, outcome.folder.name).best
    assert torch.equal(head["presence"], best["beside.prompter.presence"])
    assert learnt_head(outcome.folder, 3, AUTO.hidden) is None
    assert learnt_head(outcome.folder, 2, 16) is None
    assert learnt_head(outcome.folder.parent / "none", 2, AUTO.hidden) is None
    slow = replace(AUTO, learning_rate=1e-9, weight_decay=0.0)
    slices = embed_cases(cases, task, model.segmenter, slow, 0)
    learnt = learn_prompts(slices, model.sam, slow, 0, head=head)
    torch.testing.assert_close(learnt.enter.weight, head["enter.weight"], atol=1e-6, rtol=0)
    assert not torch.allclose(learnt.tokens, head["tokens"], atol=1e-3)


def test_the_command_that_ends_a_training_uses_it(request_in, monkeypatch):
    request = request_in("store")
    outcome = train_adapter(request, lambda now: None, beside=LabelsTogether(AUTO))
    assert outcome.verdict.version is not None
    seen = []

    def spy(*arguments):
        seen.append(arguments[-1])
        return learn_prompts(*arguments)

    monkeypatch.setattr(auto_train, "learn_prompts", spy)
    auto_train.train_auto(request, outcome.verdict.version, AUTO)
    assert torch.equal(seen[0]["presence"], learnt_head(outcome.folder, 2, 8)["presence"])


def test_nothing_is_learnt_together_where_nobody_asks():
    assert together_or_none(None) is None
    assert together_or_none(replace(AUTO, together_weight=0.0)) is None
    assert together_or_none(AUTO) == LabelsTogether(AUTO)
    with pytest.raises(ConfigError, match=r"together_weight -0.1 must be finite and not"):
        replace(AUTO, together_weight=-0.1)
