"""Gradients of training in bf16 against segment_anything's own in fp32, with trained weights.

    python scripts/bench_bf16_gradients.py DATA_DIR

DATA_DIR holds image_X.nii.gz and label_X.nii.gz and says what its labels mean. Real batches and the
real loss; each method as it begins, and after some steps. Beside ours, segment_anything's encoder
under autocast. Ends with 1 if the mean cosine of a method is below what decision 4 asks.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from bench_tasks import LEAST_COSINE
from cobot.adapters.config import AdapterConfig
from cobot.errors import ConfigError
from cobot.sam.segmenter import SliceSegmenter
from cobot.sam.weights import LoadedSam, load_sam
from cobot.training.corrections import find_corrections
from cobot.training.data_labels import stated_labels
from cobot.training.embedders import Embedder, WholeEncoder
from cobot.training.hardware import Hardware
from cobot.training.items import ItemMaker, TrainingItem
from cobot.training.recipe import Recipe
from cobot.training.slice_cache import SliceCache
from cobot.training.slice_dataset import SliceDataset
from cobot.training.step import Stepper
from cobot.training.task import TrainingTask
from cobot.training.trainee import Trainee, build_trainee
from torch import Tensor

METHODS = ("lora", "lora+cobot", "adaptformer", "adaptformer+cobot")
RECIPE = Recipe.named("default", {"rounds": 1, "prompts": "box"})
"""Without choices that may hang on a last digit: where the next click falls, and which of the three
masks of a lone click is trained. One such choice that falls the other way is another gradient."""


@dataclass(frozen=True, slots=True, eq=False)
class StockEncoder:
    """Embeddings as segment_anything computes them."""

    trainee: Trainee

    def of(self, items: Sequence[TrainingItem]) -> Tensor:
        """One embedding for each item, with gradients."""
        pixels = torch.cat([item.view.frame.image(item.view.unit) for item in items])
        return self.trainee.sam.image_encoder(pixels)


@dataclass(frozen=True, slots=True)
class Cosines:
    """Of the adapter's gradients with stock's in fp32, one number a batch."""

    ours: list[float]
    autocast: list[float]

    def __str__(self) -> str:
        """Mean and least of both, as it stands in tables."""
        both = (f"{np.mean(one):.5f} ({min(one):.5f})" for one in (self.ours, self.autocast))
        return "{} | {}".format(*both)


def main(
    data: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    base: str = "tiny",
    weights: Annotated[Path | None, typer.Option(help="file of trained weights")] = None,
    batches: Annotated[int, typer.Option(help="to compare on")] = 8,
    steps: Annotated[int, typer.Option(help="of training before the second look")] = 20,
    seed: int = 0,
) -> None:
    """Measure and print; end with 1 if it is not enough."""
    loaded, least = load_sam(base, weights), 1.0
    print(f"{base} {loaded.sha256[:12]}, {data.name}, {batches} batches of {RECIPE.batch_size}.")
    print("| method | steps | ours in bf16: mean (least) | stock under autocast |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        maker = _maker(loaded, data, Path(folder), seed)
        for method in METHODS:
            for made, cosines in _looks(loaded, method, maker, (batches, steps)):
                print(f"| {method} | {made} | {cosines} |", flush=True)
                least = min(least, float(np.mean(cosines.ours)))
    raise typer.Exit(int(least < LEAST_COSINE))


def _maker(loaded: LoadedSam, data: Path, folder: Path, seed: int) -> ItemMaker:
    found = find_corrections(data)
    stated = stated_labels(data, found[0])
    if stated is None:
        raise ConfigError(f"Nobody says what the labels of {data} mean.")
    task = TrainingTask(data.name, dict(stated.labels))
    dataset = SliceDataset(SliceCache(folder, task), found[:3], task.window_groups())
    return ItemMaker(dataset, SliceSegmenter(loaded, "cpu"), RECIPE, seed)


def _looks(
    loaded: LoadedSam, method: str, maker: ItemMaker, counts: tuple[int, int]
) -> Iterator[tuple[int, Cosines]]:
    """Cosines as the adapter begins, and after some steps in fp32."""
    batches, steps = counts
    exact = build_trainee(loaded, AdapterConfig.named(method), maker.seed)
    learning = _stepper(exact, WholeEncoder(exact.sam.image_encoder), "fp32")
    yield 0, _cosines(exact, maker, batches)
    optimiser = torch.optim.AdamW(exact.groups(RECIPE))
    for step in range(steps):
        learning.take(_batch(maker, batches + step), RECIPE.batch_size, step)
        torch.nn.utils.clip_grad_norm_(exact.parameters, RECIPE.clip_norm or float("inf"))
        optimiser.step()
    yield steps, _cosines(exact, maker, batches)


def _cosines(exact: Trainee, maker: ItemMaker, batches: int) -> Cosines:
    """Compare on the first batches, without dropout."""
    narrow = build_trainee(exact.base, exact.config, maker.seed, narrow=True)
    narrow.load(exact.tensors())
    for trainee in (exact, narrow):
        trainee.sam.eval()
    stock = _stepper(exact, StockEncoder(exact), "fp32")
    autocast = _stepper(exact, StockEncoder(exact), "bf16")
    ours = _stepper(narrow, WholeEncoder(narrow.sam.image_encoder), "bf16")
    found = Cosines([], [])
    for number in range(batches):
        items = _batch(maker, number)
        wanted = _gradients(stock, exact, items)
        for got, into in (
            (_gradients(ours, narrow, items), found.ours),
            (_gradients(autocast, exact, items), found.autocast),
        ):
            into.append(F.cosine_similarity(got, wanted, dim=0).item())
    exact.sam.train()
    return found


def _stepper(trainee: Trainee, embedder: Embedder, precision: str) -> Stepper:
    return Stepper(Hardware("cpu", precision=precision).start(), trainee, RECIPE, embedder)


def _batch(maker: ItemMaker, number: int) -> list[TrainingItem]:
    """The same items for the same number."""
    order = np.random.default_rng(maker.seed).permutation(len(maker.dataset))
    picked = np.arange(RECIPE.batch_size) + number * RECIPE.batch_size
    return [maker.make(int(order[one % len(order)]), 0) for one in picked]


def _gradients(stepper: Stepper, trainee: Trainee, items: Sequence[TrainingItem]) -> Tensor:
    stepper.take(items, RECIPE.batch_size, 0)
    own = trainee.handle.parameters().values()
    return torch.cat([one.grad.flatten() for one in own if one.grad is not None])


if __name__ == "__main__":
    typer.run(main)
