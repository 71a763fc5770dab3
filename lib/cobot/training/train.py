"""Train an adapter on corrections: the whole story on one page."""

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lightning_fabric import Fabric

from cobot.adapters.card import AdapterCard
from cobot.adapters.checkpoint import AdapterFile
from cobot.adapters.choice import ACTIVE
from cobot.adapters.store import AdapterStore
from cobot.atomic import atomic_path
from cobot.errors import AdapterError, CobotError, ConfigError
from cobot.sam.adapted_sam import adapter_sha256
from cobot.sam.embeddings import EmbeddingService
from cobot.sam.prefix import PrefixCache, first_trained_block
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import LoadedSam, load_sam
from cobot.training.bench import Bench
from cobot.training.champion import BASE, Champion, Verdict, decide, published_before
from cobot.training.embedders import Embedder, FrozenEmbeddings, LateBlocks, WholeEncoder
from cobot.training.items import ItemMaker
from cobot.training.loop import Trainer, TrainingParts, TrainingProgress
from cobot.training.provenance import training_card
from cobot.training.request import TrainingRequest
from cobot.training.run_lock import alone_at
from cobot.training.side_task import SideTaskPlan
from cobot.training.step import Stepper
from cobot.training.trainee import Trainee, build_trainee, require_trainable
from cobot.training.training_data import TrainingData, prepare_data
from cobot.training.validate import ValidationScores, Validator

logger = logging.getLogger(__name__)

RESULT_NAME = "result.json"
PROPAGATION_NAME = "propagation.json"


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """What a training came to.

    Attributes:
        folder: of the run: checkpoint, curves, figures.
        verdict: what was active before and its scores, those of the result, whether it was
            published and why.
        history: scores after each epoch.
        note: what is unusual about the split; empty if nothing is.
        propagated: before and after, from one box on each structure's middle slice; None is not
            measured.
    """

    folder: Path
    verdict: Verdict
    history: tuple[ValidationScores, ...]
    note: str
    propagated: tuple[ValidationScores | None, ValidationScores | None]


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What one run holds together."""

    request: TrainingRequest
    fabric: Fabric
    base: LoadedSam
    data: TrainingData
    bench: Bench
    folder: Path
    card: AdapterCard
    beside: SideTaskPlan | None


def train_adapter(
    request: TrainingRequest,
    report: Callable[[TrainingProgress], None],
    announce: Callable[[str], None] = logger.info,
    beside: SideTaskPlan | None = None,
) -> TrainingOutcome:
    """Train, measure, and publish if the result is not worse than what is active.

    The same request on the same data goes on where it was interrupted, and ends as it would have
    without the interruption (bit for bit on a CPU).

    Args:
        request: what to do.
        report: called after every step and measurement, in the first process.
        announce: told in a sentence what begins, in the first process.
        beside: what embeddings shall learn to tell too.

    Raises:
        CobotError: the data, settings or weights do not fit; the message says the cure.
    """
    require_trainable(request.adapter)
    store = AdapterStore(request.store)
    request = _named_beginning(request, store)
    beginning = None if request.begin_with is None else store.read(request.begin_with)
    run = _prepare_run(request, store, beginning, beside)
    first = run.fabric.is_global_zero
    trainee = _trainee(run, beginning)
    if first:
        for sentence in _sentences(run, trainee):
            announce(sentence)
    with alone_at(run.folder, run.fabric):
        trainer = Trainer(_parts(run, trainee), report if first else _silent)
        history = trainer.run()
        file = trainee.snapshot(run.card)
        challenger = run.bench.measure(file)
        verdict = _judge(run, store, file, challenger)
        propagated = _propagated(run, file, verdict)
    return TrainingOutcome(run.folder, verdict, history, run.data.split.note, propagated)


@dataclass(frozen=True, slots=True, eq=False)
class BlindTraining:
    """What came of a training that never looked at the validation cases.

    Attributes:
        file: the adapter after the last epoch.
        plain: the base it belongs to.
    """

    file: AdapterFile
    plain: SliceSegmenter


def train_blind(
    request: TrainingRequest,
    report: Callable[[TrainingProgress], None],
    slices: int = 0,
    beside: SideTaskPlan | None = None,
) -> BlindTraining:
    """Train for all epochs and publish nothing: for comparing methods on the validation cases.

    Choosing the best epoch by the cases that are reported would flatter every method.

    Args:
        request: what to do; its store keeps the run and the decoded slices.
        report: called after every step.
        slices: learn from so many of the training slices, the same for every request on the same
            data; 0 takes all.
        beside: what embeddings shall learn to tell too.
    """
    require_trainable(request.adapter)
    run = _prepare_run(request, AdapterStore(request.store), None, beside)
    trainee = _trainee(run, None)
    parts = _parts(run, trainee)
    parts = replace(
        parts,
        items=replace(parts.items, dataset=parts.items.dataset.thinned(slices)),
        measure=lambda: ValidationScores({}),
        stop_early=False,
    )
    Trainer(parts, report).run()
    return BlindTraining(trainee.snapshot(run.card), run.bench.plain)


def _prepare_run(
    request: TrainingRequest,
    store: AdapterStore,
    beginning: AdapterFile | None,
    beside: SideTaskPlan | None = None,
) -> _Run:
    """Bring up processes, weights and data, and the folder that is this run's and no other's."""
    fabric = request.hardware.start()
    base = load_sam(request.base, request.weights)
    precision = request.hardware.precision_on(fabric.device)
    options = SegmenterOptions(request.side_px, precision=precision)
    plain = SliceSegmenter(base, fabric.device, options)
    data = prepare_data(request, fabric)
    _require_unseen(beginning, data)
    extra = dict(beside.identity()) if beside else {}
    hashes: list[object] = [data.fingerprint, adapter_sha256(beginning) if beginning else ""]
    hashes += [extra] if extra else []
    fingerprint = request.fingerprint(base.sha256, hashes, precision, fabric.world_size)
    folder = request.store / "runs" / fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    validator = Validator(data.validation, request.task.labels, fabric)
    bench = Bench(store, plain, validator, EmbeddingService())
    before = beginning.card if beginning else None
    card = training_card(request, plain, data, {"run": fingerprint, **extra}, before)
    return _Run(request, fabric, base, data, bench, folder, card, beside)


def _require_unseen(beginning: AdapterFile | None, data: TrainingData) -> None:
    """Refuse to go on from an adapter that has learnt from what it would be measured on.

    Raises:
        ConfigError: says how many of the cases.
    """
    seen = 0 if beginning is None else _seen(beginning.card, data)
    if seen:
        raise ConfigError(
            f"The adapter to go on with has learnt from {seen} of the "
            f"{len(data.validation.image_hashes)} cases held back to measure on, so its Dice would "
            "say nothing: give --split with the sides it was trained with, or start afresh."
        )


def _seen(card: AdapterCard, data: TrainingData) -> int:
    """How many of the cases held back an adapter has learnt from."""
    if not data.split.held_out:
        return 0
    return len(set(card.image_hashes) & set(data.validation.image_hashes))


def _trainee(run: _Run, beginning: AdapterFile | None) -> Trainee:
    """The base with what learns on it."""
    request, narrow = run.request, run.bench.plain.options.precision == "bf16"
    trainee = build_trainee(run.base, request.adapter, request.seed, beginning, narrow)
    if run.beside is None:
        return trainee
    beside = run.beside.build(run.base.shape, request.task, request.seed)
    return replace(trainee, beside=beside.to(run.fabric.device))


def _named_beginning(request: TrainingRequest, store: AdapterStore) -> TrainingRequest:
    """The request with the version's name in the place of "active"."""
    if request.begin_with != ACTIVE:
        return request
    active = store.active()
    if active is None:
        raise AdapterError(
            f"No adapter is active in {request.store}, so there is none to go on with; leave "
            "--continue out to start afresh."
        )
    return replace(request, begin_with=active)


def _parts(run: _Run, trainee: Trainee) -> TrainingParts:
    request, plain, hardware = run.request, run.bench.plain, run.request.hardware
    return TrainingParts(
        fabric=run.fabric,
        trainee=trainee,
        items=ItemMaker(run.data.train, plain, request.recipe, request.seed),
        recipe=request.recipe,
        stepper=Stepper(run.fabric, trainee, request.recipe, _embedder(run, trainee)),
        measure=lambda: run.bench.measure(trainee.snapshot(run.card)),
        stop_early=run.data.split.held_out,
        folder=run.folder,
        fingerprint=run.folder.name,
        loaders=hardware.loaders,
        micro_batch=hardware.micro_batch,
    )


def _embedder(run: _Run, trainee: Trainee) -> Embedder:
    """As little of the encoder for each step as the adapter's place allows."""
    hardware, encoder = run.request.hardware, trainee.sam.image_encoder
    if trainee.frozen_encoder:
        return FrozenEmbeddings(run.bench.kept, run.bench.plain)
    first = first_trained_block(encoder)
    if first == 0:
        return WholeEncoder(encoder, hardware.checkpointing)
    return LateBlocks(encoder, first, PrefixCache(hardware.prefix_bytes), hardware.checkpointing)


def _sentences(run: _Run, trainee: Trainee) -> list[str]:
    """What the user should know before it begins."""
    split, data = run.data.split, run.data
    count = sum(one.numel() for one in trainee.parameters)
    decoder = sum(one.numel() for one in trainee.decoder_parameters)
    plan = (
        f"Run {run.folder.name}: {len(split.train)} cases to learn from ({len(data.train)} slices),"
        f" {len(split.validation)} to measure on; {count - decoder:,} parameters of the adapter"
        f" and {decoder:,} of the mask decoder learn, computed in {run.bench.plain.precision}."
    )
    blocks = run.request.adapter.blocks
    late = f"Blocks {list(blocks)} are adapted." if blocks is not None else ""
    return [sentence for sentence in (plan, late, split.note) if sentence]


def _judge(
    run: _Run, store: AdapterStore, file: AdapterFile, challenger: ValidationScores
) -> Verdict:
    """Compare with what is active now, and publish once; the first process decides for all."""
    earlier = published_before(store, run.folder.name)
    if earlier is not None:
        return _again(run, store, earlier, challenger)
    champion = _champion(run, store, _in_use(run, store))
    # Measuring takes minutes, in which somebody may have activated another version.
    while champion.name != (now := _in_use(run, store)):
        champion = _champion(run, store, now)
    verdict = decide(store, file, challenger, champion) if run.fabric.is_global_zero else None
    verdict = run.fabric.broadcast(verdict)
    assert isinstance(verdict, Verdict)
    _write_result(run, verdict)
    return verdict


def _champion(run: _Run, store: AdapterStore, name: str) -> Champion:
    """What is active, measured; not if it would be measured on what it has learnt from."""
    seen = 0
    # What is damaged is told by the bench.
    with suppress(AdapterError):
        seen = 0 if name == BASE else _seen(store.show(name).card, run.data)
    if not seen:
        return run.bench.champion(name)
    why = f"it has learnt from {seen} of the cases held back, under another split."
    return Champion(name, None, why)


def _in_use(run: _Run, store: AdapterStore) -> str:
    """What is active now, the same for all processes."""
    return str(run.fabric.broadcast(_in_use_here(store)))


def _in_use_here(store: AdapterStore) -> str:
    return store.active() or BASE


def _again(run: _Run, store: AdapterStore, version: str, challenger: ValidationScores) -> Verdict:
    """The verdict of a run that published before; one cut off before activating activates now."""
    metrics = store.show(version).card.metrics
    champion = Champion(str(metrics.get("champion")), _measured_before(run.folder / RESULT_NAME))
    reason = f"This run was finished before, as {version}; nothing was published again."
    verdict = Verdict(version, champion, challenger, reason)
    if not (run.folder / RESULT_NAME).exists() and run.fabric.is_global_zero:
        compared = metrics.get("champion_dice") is not None
        if compared and _in_use_here(store) == champion.name:
            store.activate(version)
        _write_result(run, verdict)
    return verdict


def _measured_before(result: Path) -> ValidationScores | None:
    """The champion's scores as a finished run wrote them down."""
    if not result.exists():
        return None
    by_case = json.loads(result.read_text(encoding="utf-8"))["champion_dice_by_case"]
    return None if by_case is None else ValidationScores(by_case)


def _propagated(
    run: _Run, file: AdapterFile, verdict: Verdict
) -> tuple[ValidationScores | None, ValidationScores | None]:
    """One box propagated, before and after; measured once for each champion, after the verdict.

    Both None where a file of a case cannot be read any more.
    """
    path, task = run.folder / PROPAGATION_NAME, run.request.task
    champion = verdict.champion.name
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if run.fabric.broadcast(known.get("champion") == champion):
        before = ValidationScores(known["before"]) if known["before"] is not None else None
        return before, ValidationScores(known["after"])
    try:
        before = run.bench.champion_propagated(champion, task)
        after = run.bench.propagated(file, task)
    except (CobotError, OSError) as error:
        if run.fabric.world_size > 1:
            # The others wait for this process's cases: all of them must end.
            raise
        # The verdict is in force: a label that was changed meanwhile must not call it failed.
        logger.warning("One box propagated was not measured: %s", error)
        return None, None
    if run.fabric.is_global_zero:
        before_dice = before.dice if before else None
        content = {"champion": champion, "before": before_dice, "after": after.dice}
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content, indent=2, default=dict), encoding="utf-8")
    return before, after


def _write_result(run: _Run, verdict: Verdict) -> None:
    """Write the figures beside the checkpoint: the last thing a run does."""
    if not run.fabric.is_global_zero:
        return
    champion = verdict.champion.scores
    content = {
        "version": verdict.version,
        "reason": verdict.reason,
        "champion": verdict.champion.name,
        "champion_dice": champion.mean if champion else None,
        "champion_dice_by_case": champion.dice if champion else None,
        "dice": verdict.challenger.mean,
        "dice_by_label": verdict.challenger.by_label,
        "dice_by_case": verdict.challenger.dice,
    }
    with atomic_path(run.folder / RESULT_NAME) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=dict), encoding="utf-8")


def _silent(progress: TrainingProgress) -> None:
    """Only the first process reports."""
