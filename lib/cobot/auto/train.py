"""Label prompts for an adapter version: learnt on its training cases, measured on the others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from segment_anything.modeling import Sam
from torch import Tensor

from cobot.adapters.checkpoint import AdapterFile
from cobot.adapters.store import AdapterStore
from cobot.auto.bank import embed_cases
from cobot.auto.files import FILE_NAME, LabelPrompts, write_label_prompts
from cobot.auto.learn import learn_prompts
from cobot.auto.recipe import DEFAULT_RECIPE, AutoRecipe
from cobot.auto.segment import segment_auto
from cobot.auto.settings import AutoSettings
from cobot.auto.together import learnt_head
from cobot.errors import AdapterError
from cobot.sam.adapted_sam import AdaptedSam, adapt_sam
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import LoadedSam, load_sam
from cobot.training.corrections import Correction
from cobot.training.evaluate_propagation import VolumeCase, task_case
from cobot.training.request import TrainingRequest
from cobot.training.task import TrainingTask
from cobot.training.training_data import prepare_data
from cobot.volume import LabelMap


@dataclass(frozen=True, slots=True)
class AutoProgress:
    """Where the learning of label prompts stands.

    Attributes:
        stage: "embed" cases, "learn" in steps, or "measure" cases.
        done: of them.
        total: of them.
        loss: of the last step; NaN in other stages.
    """

    stage: str
    done: int
    total: int
    loss: float = float("nan")


Report = Callable[[AutoProgress], None]


@dataclass(frozen=True, slots=True, eq=False)
class AutoOutcome:
    """What came of it.

    Attributes:
        path: the file beside the adapter.
        dice: validation case to structure to 3D Dice, without any prompt.
    """

    path: Path
    dice: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True, eq=False)
class FrozenModel:
    """What label prompts are learnt on: a segmenter, and the very modules that it runs."""

    segmenter: SliceSegmenter
    sam: Sam

    @classmethod
    def of(
        cls, base: LoadedSam, file: AdapterFile | None, device: str, options: SegmenterOptions
    ) -> "FrozenModel":
        """A base with an adapter folded in, or alone.

        Raises:
            AdapterError: the adapter was made for another base.
        """
        base.sam.to(device)
        adapted: AdaptedSam | None = None if file is None else adapt_sam(base, file)
        segmenter = SliceSegmenter(base, device, options, adapted)
        return cls(segmenter, base.sam if adapted is None else adapted.sam)


def train_auto(
    request: TrainingRequest,
    version: str,
    recipe: AutoRecipe = DEFAULT_RECIPE,
    report: Report = lambda now: None,
) -> AutoOutcome | None:
    """Learn label prompts on a published adapter, and store them beside it.

    The adapter stays as it is, bit for bit. If it was trained with `LabelsTogether`, they go on
    from the head of that training. Of several processes only the first one works.

    Args:
        request: what the adapter was trained on; its data, task, split, seed and hardware are used.
        version: of the request's store.
        recipe: how.
        report: told how far it is.

    Returns:
        What came of it; None in processes that do not work.

    Raises:
        AdapterError: the version carries label prompts already, or is of another base.
        CobotError: the data do not fit.
    """
    store = AdapterStore(request.store)
    shown = store.show(version)
    path = shown.folder / FILE_NAME
    if path.exists():
        raise AdapterError(
            f"{version} carries label prompts already ({path}), and what is published is never "
            "overwritten: train another version, or move this file away."
        )
    fabric = request.hardware.start()
    data = prepare_data(request, fabric)
    if not fabric.is_global_zero:
        return None
    # Learnt at the side at which the adapter will answer, whatever a later request says.
    options = SegmenterOptions(precision=request.hardware.precision_on(fabric.device))
    base = load_sam(request.base, request.weights)
    model = FrozenModel.of(base, store.read(version), str(fabric.device), options)
    cases = data.train.corrections
    run = request.store / "runs" / str(shown.card.recipe.get("run", ""))
    head = learnt_head(run, len(request.task.labels), recipe.hidden)
    prompts = learn_label_prompts(model, cases, request.task, recipe, request.seed, report, head)
    dice = measure(model.segmenter, prompts, data.validation.corrections, report)
    means = [float(np.mean(list(one.values()))) for one in dice.values() if one]
    metrics = {
        "dice": float(np.mean(means)) if means else None,
        "validation_cases": len(means),
        "held_out": data.split.held_out,
    }
    settings = replace(prompts.settings, metrics=metrics)
    written = write_label_prompts(path.parent, LabelPrompts(settings, prompts.prompter))
    return AutoOutcome(written, dice)


def learn_label_prompts(
    model: FrozenModel,
    cases: Sequence[Correction],
    task: TrainingTask,
    recipe: AutoRecipe,
    seed: int,
    report: Report = lambda now: None,
    head: Mapping[str, Tensor] | None = None,
) -> LabelPrompts:
    """Label prompts for a model, from labelled cases.

    Args:
        model: stays as it is.
        cases: to learn from.
        task: labels, windows, plane.
        recipe: how.
        seed: of everything random.
        report: told how far it is.
        head: where labels lie, as it was learnt with the adapter; else it begins anew.

    Raises:
        ConfigError: no case holds a label of the task.
    """

    def embedded(done: int, total: int) -> None:
        report(AutoProgress("embed", done, total))

    def learnt(done: int, total: int, loss: float) -> None:
        report(AutoProgress("learn", done, total, loss))

    slices = embed_cases(cases, task, model.segmenter, recipe, seed, embedded)
    prompter = learn_prompts(slices, model.sam, recipe, seed, learnt, head)
    settings = AutoSettings(
        task=task,
        shape=prompter.shape,
        components=slices.components,
        base_sha256=model.segmenter.base_sha256,
        adapter_sha256=model.segmenter.adapter_hash,
        recipe={**recipe.to_dict(), "seed": seed, "pictures": len(slices), "cases": len(cases)},
    )
    return LabelPrompts(settings, prompter)


def measure(
    segmenter: SliceSegmenter,
    prompts: LabelPrompts,
    cases: Sequence[Correction],
    report: Report = lambda now: None,
) -> dict[str, dict[str, float]]:
    """Case to structure to 3D Dice, without any prompt."""
    dice = {}
    for number, one in enumerate(cases, start=1):
        case = task_case(one, prompts.settings.task)
        found = segment_auto(case.volume, segmenter, prompts)
        dice[case.name] = case_dice(case, found.label_map)
        report(AutoProgress("measure", number, len(cases)))
    return dice


def case_dice(case: VolumeCase, found: LabelMap) -> dict[str, float]:
    """Structure to 3D Dice, for the structures that were drawn in the case."""
    dice = {}
    for value, name in case.labels.items():
        truth = case.truth == value
        if truth.any():
            mask = found.mask(name)
            dice[name] = float(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    return dice
