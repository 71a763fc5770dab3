"""Answers clicks: reads a study once, encodes a slice once, decodes at every click."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cobot.errors import AdapterError, PromptError, WeightsError
from cobot.intensity import IntensityWindow, window_rule
from cobot.io.images import read_volume
from cobot.planes import Slice, plane_across
from cobot.prompts import ObjectPrompts
from cobot.sam.adapted import swap_adapter
from cobot.sam.answer import SliceMask
from cobot.sam.build import encoder_shape
from cobot.sam.device import choose_device
from cobot.sam.embeddings import EmbeddingService, WantedSlice
from cobot.sam.encoder_plan import choose_dtype
from cobot.sam.prefetch import outward
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import default_weights_path, load_sam
from cobot.server.following import AdapterSource, BaseAlone
from cobot.server.lru import Lru
from cobot.server.study import FileStamp, Study
from cobot.slicing import cut_slice, stack_masks
from cobot.volume import LabelMap, Volume

KEPT_VOLUMES = 6
"""Several annotators are at different cases; a CT of 512 x 512 x 200 takes 0.1 GB."""

KEPT_WINDOWS = 64
K_AXIS = 2

REACH_SLICES = 8
"""To either side of the slice in view: half a minute of ViT-B on two CPU cores."""


@dataclass(frozen=True, slots=True)
class SliceAnswer:
    """What one click brought.

    Attributes:
        label_map: the volume's grid; 1 on the object in the asked slice, 0 elsewhere.
        predicted_iou: how sure the model is of its mask, 0 to 1.
        window: the window the slice was seen through.
        encoder_cached: the slice had been encoded by an earlier click.
        seconds: time spent, by step.
        adapter: the version that answered; None is the base alone.
        trouble: why that is not the version it should be, in a sentence; empty if it is.
        precision: of the encoder: fp32 or bf16.
    """

    label_map: LabelMap
    predicted_iou: float
    window: IntensityWindow
    encoder_cached: bool
    seconds: Mapping[str, float]
    adapter: str | None = None
    trouble: str = ""
    precision: str = "fp32"


@dataclass(frozen=True, slots=True, eq=False)
class InUse:
    """What answers a request from its first slice to its last.

    Attributes:
        segmenter: with the adapter in it.
        adapter: the version; None is the base alone.
        trouble: why that is not the version it should be, in a sentence; empty if it is.
    """

    segmenter: SliceSegmenter
    adapter: str | None
    trouble: str = ""


@dataclass(slots=True)
class Stopwatch:
    """Seconds by step, filled while the steps run."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure one step."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 4)


class SliceEngine:
    """Final. One segmenter for a process and its device, made at the first click.

    What it remembers are values with keys (volumes, windows, embeddings), never a current image:
    two people may click on two studies at once, and the segmenter lets them take turns.

    Before each answer it looks which adapter is wanted. Another one is put onto the base, which is
    not loaded again; clicks being answered finish with the adapter they began with, and no
    embedding of one adapter is ever decoded with another. A version that cannot be used leaves the
    one in use, and every answer says so.

    Attributes:
        embeddings: of every slice that was asked for, whichever task asked.
    """

    def __init__(
        self,
        make_segmenter: Callable[[], SliceSegmenter],
        embeddings: EmbeddingService | None = None,
        reach: int = REACH_SLICES,
        adapters: AdapterSource | None = None,
    ) -> None:
        """Prepare without loading anything.

        Args:
            make_segmenter: makes the base's, at the first click.
            embeddings: where embeddings are kept; by default an own service, in memory only.
            reach: how many slices to either side `embed_ahead` goes.
            adapters: says which adapter answers; by default the base does, alone.
        """
        self._make_segmenter = make_segmenter
        self._reach = reach
        self._adapters: AdapterSource = adapters or BaseAlone()
        self._current: InUse | None = None
        self._unusable: dict[str, str] = {}
        self._changing = threading.RLock()
        self._studies = Lru[FileStamp, Study](KEPT_VOLUMES, lambda _: 1)
        self._windows = Lru[tuple[FileStamp, str], IntensityWindow](KEPT_WINDOWS, lambda _: 1)
        self.embeddings = embeddings or EmbeddingService()

    def close(self) -> None:
        """End the work done ahead; clicks are still answered."""
        self.embeddings.close()

    def read(self, image: Path) -> Study:
        """Read a volume, or return it as it was read for an earlier click.

        Raises:
            ImageReadError: the file is no 3D image.
        """
        stamp = FileStamp.of(image)
        return self._studies.get_or_make(stamp, lambda: Study(read_volume(image), stamp))[0]

    def segment(
        self, study: Study, slice_k: int, target: ObjectPrompts, window_text: str
    ) -> SliceAnswer:
        """Segment one object on slice k.

        Raises:
            WindowError: the window is unknown or does not fit the volume.
            PromptError: there is nothing to segment on that slice.
            WeightsError: the model's weights are missing or damaged.
            AdapterError: the version that the user named cannot be used.
        """
        watch = Stopwatch()
        slice_ = cut_slice(study.volume, plane_across(study.volume.affine, K_AXIS), slice_k)
        prompts = target.on_slice(slice_)
        if prompts is None:
            raise PromptError(f"Slice {slice_k} holds no positive click and no box.")
        with watch.step("window"):
            window = self.window(study, window_text)
        with watch.step("model"):
            in_use = self.in_use()
            segmenter = in_use.segmenter
        with watch.step("view"):
            view = segmenter.view(slice_, window, [prompts])
        with self.embeddings.requests_first():
            with watch.step("encode"):
                found = self.embeddings.get(segmenter, WantedSlice(view, str(study.stamp)))
            with watch.step("decode"):
                answer = segmenter.decode(found.embedding, [prompts])[0]
        return SliceAnswer(
            label_map=_as_label_map(answer, slice_, study.volume, target.label),
            predicted_iou=round(float(answer.predicted_iou), 4),
            window=window,
            encoder_cached=found.cached,
            seconds={**watch.seconds, **({"encode": 0.0} if found.cached else {})},
            adapter=in_use.adapter,
            trouble=in_use.trouble,
            precision=segmenter.precision,
        )

    def embed_ahead(
        self, study: Study, slice_k: int, window: IntensityWindow, viewer: str = ""
    ) -> None:
        """Embed the neighbours of a slice in the background, nearest first.

        Requests go first, and wait for one slice at most.

        Args:
            study: the volume in view.
            slice_k: the slice in view.
            window: as the slice is seen.
            viewer: who looks; what was to be embedded ahead for them before is dropped.
        """
        segmenter, volume = self.in_use().segmenter, study.volume
        plane = plane_across(volume.affine, K_AXIS)
        near = outward(slice_k, volume.shape[K_AXIS], self._reach)
        neighbours = (cut_slice(volume, plane, index) for index in near)
        wanted = (WantedSlice(segmenter.view(one, window), str(study.stamp)) for one in neighbours)
        self.embeddings.prefetch(viewer, segmenter, wanted)

    def in_use(self) -> InUse:
        """What answers now; while one click changes the adapter, others use the one before."""
        current = self._current
        try:
            wanted = self._adapters.wanted()
        except AdapterError as error:
            return self._in_spite_of(str(error))
        if current is not None and current.adapter == wanted:
            return current
        nothing_else_will_do = current is None or self._adapters.required
        if not self._changing.acquire(blocking=nothing_else_will_do):
            assert current is not None
            return current
        try:
            return self._change(wanted)
        finally:
            self._changing.release()

    def _change(self, wanted: str | None) -> InUse:
        """Put the wanted version into use; for who holds `_changing`."""
        loaded = self._current or InUse(self._make_segmenter(), None)
        if loaded.adapter != wanted and wanted not in self._unusable:
            try:
                file = self._adapters.read(wanted) if wanted else None
                loaded = InUse(swap_adapter(loaded.segmenter, file), wanted)
                self.embeddings.cancel_prefetch()
            except AdapterError as error:
                # A version never changes: what is wrong with it now will be at the next click.
                self._unusable[str(wanted)] = str(error)
        # Not before: a click that found the base here, while the first adapter is read, would be
        # answered by it.
        self._current = loaded
        if loaded.adapter == wanted:
            return loaded
        return self._in_spite_of(f"Adapter {wanted}: {self._unusable[str(wanted)]}")

    def _in_spite_of(self, trouble: str) -> InUse:
        """What is in use, with the reason why nothing else is.

        Raises:
            AdapterError: the user asked for one version and no other.
        """
        if self._adapters.required:
            raise AdapterError(trouble)
        with self._changing:
            current = self._loaded()
        used = f"adapter {current.adapter}" if current.adapter else "the base without an adapter"
        return replace(current, trouble=f"Answered by {used}. {trouble}")

    def _loaded(self) -> InUse:
        """What is in use; the base, if nothing was yet."""
        self._current = self._current or InUse(self._make_segmenter(), None)
        return self._current

    def window(self, study: Study, text: str) -> IntensityWindow:
        """The window of a study, named or in its units.

        Raises:
            WindowError: it is unknown or does not fit the volume.
        """
        volume = study.volume
        return self._windows.get_or_make(
            (study.stamp, text), lambda: window_rule(text, volume).resolve(volume)
        )[0]


def _as_label_map(answer: SliceMask, slice_: Slice, volume: Volume, label: str) -> LabelMap:
    values = answer.mask.astype(np.uint8)
    return stack_masks({slice_.index: values}, slice_.plane, volume, {1: label})


def sam_loader(
    model: str, weights: Path | None, device: str, options: SegmenterOptions | None = None
) -> Callable[[], SliceSegmenter]:
    """A function that loads a SAM onto a device when it is called; what is missing is said now.

    Args:
        model: tiny, vit_b, vit_l or vit_h.
        weights: file of base weights; None takes the model's own.
        device: auto or empty (the GPU if there is one), cpu, cuda or cuda:N.
        options: precision, and whether the encoder is compiled; None is as the segmenter has it.

    Raises:
        ConfigError: no such encoder, device or precision.
        WeightsError: there is no file of weights.
    """
    shape, place = encoder_shape(model), choose_device(device)
    chosen = options or SegmenterOptions()
    choose_dtype(chosen.precision, place)
    file = weights or default_weights_path(shape.name)
    if not file.is_file():
        raise WeightsError(
            f"The weights of {model} are not at {file}; check --weights (in MONAI Label --conf "
            f"weights), or leave it out: tiny is built in, others come by `cobot fetch {model}`."
        )
    return lambda: SliceSegmenter(load_sam(model, weights), place, chosen)
