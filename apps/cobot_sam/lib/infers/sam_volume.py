"""SmartEdit in Slicer for whole structures: `sam_3d` for one, `sam_multi` for several."""

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cobot.server.following import NO_ADAPTER
from cobot.server.predictions import PredictionStore
from cobot.server.volume_engine import VolumeAnswer, VolumeEngine
from cobot.server.volume_report import least_certain, structure_report, volume_notes
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from lib.infers.answering import (
    DISCLAIMER,
    AnswerFolder,
    keep_structures,
    offered_windows,
    refusals,
)
from lib.volume_requests import (
    VolumeQuestion,
    VolumeRequest,
    one_structure,
    read_volume_request,
    several_structures,
)

TIME_CAP_S = 20


@dataclass(frozen=True, slots=True)
class Serving:
    """What both tasks are made of.

    Attributes:
        engine: follows structures.
        predictions: where answers are kept for training.
        answers: where answers lie until they are sent.
        model: the encoder's name.
        window: the intensity window offered first.
    """

    engine: VolumeEngine
    predictions: PredictionStore
    answers: AnswerFolder
    model: str
    window: str


class SamVolume(InferTask):
    """A request about whole structures, from Slicer's keys to the label map and what is told."""

    def __init__(
        self, serving: Serving, kind: InferType, labels: Sequence[str], description: str
    ) -> None:
        """Offer the task; nothing is loaded before the first click."""
        super().__init__(
            type=kind,
            labels=list(labels),
            dimension=3,
            description=f"{description}, answered by SAM ({serving.model})",
            config={"window": offered_windows(serving.window), "time_cap_s": TIME_CAP_S},
        )
        self._serving = serving

    def is_valid(self) -> bool:
        """Always: weights that are missing are said at the first click, with the cure."""
        return True

    @abstractmethod
    def _question(
        self, raw: Mapping[str, Any], request: VolumeRequest, shape: tuple[int, int, int]
    ) -> VolumeQuestion:
        """What is asked of a volume of this shape."""

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Answer one request with the file of a label map and what to tell about it."""
        start = time.perf_counter()
        image = Path(request["image"])
        with refusals(image):
            asked = read_volume_request(request)
            study = self._serving.engine.slices.read(image)
            read = time.perf_counter()
            question = self._question(request, asked, study.volume.shape)
            cap_s = TIME_CAP_S if asked.time_cap_s is None else asked.time_cap_s
            answer = self._serving.engine.segment(
                study, question.targets, asked.window or self._serving.window, float(cap_s)
            )
            answered = time.perf_counter()
            file = self._serving.answers.write(answer.label_map, asked.result_extension, image)
            written = time.perf_counter()
            keep_structures(
                self._serving.predictions,
                str(request.get("image_id", "")),
                answer.label_map,
                answer.structures,
                answer.adapter,
            )
        end = time.perf_counter()
        seconds = {
            "read": read - start,
            **answer.seconds,
            "write": written - answered,
            "keep": end - written,
            "total": end - start,
        }
        notes = [*question.notes, *volume_notes(answer, float(cap_s))]
        return file, self._report(answer, seconds, notes)

    def _report(
        self, answer: VolumeAnswer, seconds: Mapping[str, float], notes: Sequence[str]
    ) -> dict[str, Any]:
        return {
            "label_names": {name: value for value, name in answer.label_map.labels.items()},
            "structures": {
                name: structure_report(found, answer.prompted[name])
                for name, found in answer.structures.items()
            },
            "least_certain": least_certain(answer),
            "window": [answer.window.lower, answer.window.upper],
            "slices_encoded": answer.spent.slices_encoded,
            "slices_answered": answer.spent.slices_answered,
            "latencies": {step: round(value, 4) for step, value in seconds.items()},
            "notes": [*notes, *([answer.trouble] if answer.trouble else [])],
            "model": self._serving.model,
            "adapter": answer.adapter or NO_ADAPTER,
            "precision": answer.precision,
            "disclaimer": DISCLAIMER,
        }


class Sam3D(SamVolume):
    """One structure, wherever its clicks lie."""

    def __init__(self, serving: Serving) -> None:
        """Offer the task."""
        super().__init__(serving, InferType.DEEPGROW, [], "Clicks and a ROI, the whole structure")

    def _question(
        self, raw: Mapping[str, Any], request: VolumeRequest, shape: tuple[int, int, int]
    ) -> VolumeQuestion:
        return one_structure(request, shape)


class SamMulti(SamVolume):
    """All structures that were clicked on, in one answer."""

    def __init__(self, serving: Serving, labels: Sequence[str]) -> None:
        """Offer the task.

        Slicer sends the clicks of every segment to a task that names any label, and at Next Sample
        it runs the first task that names one of the server's as if it needed no click. Hence one
        label that the server has not.

        Args:
            serving: what it is made of.
            labels: the structures of this server.
        """
        super().__init__(
            serving, InferType.DEEPEDIT, ["background"], "Clicks on several structures at once"
        )
        self._structures = tuple(labels)

    def _question(
        self, raw: Mapping[str, Any], request: VolumeRequest, shape: tuple[int, int, int]
    ) -> VolumeQuestion:
        return several_structures(raw, shape, self._structures)
