"""Auto-segmentation in Slicer: no click, all labels of a data set."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cobot.intensity import PRESETS
from cobot.server.auto_engine import TRAINED, AutoAnswer, AutoEngine
from cobot.server.predictions import PredictionStore
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from lib.infers.answering import DISCLAIMER, AnswerFolder, keep_structures, refusals
from lib.requests import read_request


class SegmentAll(InferTask):
    """Every label of one data set, where the active adapter has learnt to find them."""

    def __init__(
        self,
        engine: AutoEngine,
        predictions: PredictionStore,
        answers: AnswerFolder,
        dataset: str,
        model: str,
    ) -> None:
        """Offer the task; nothing is loaded before the first request.

        Args:
            engine: segments.
            predictions: where answers are kept for training.
            answers: where answers lie until they are sent.
            dataset: the data set by its name.
            model: the encoder's name.
        """
        super().__init__(
            type=InferType.SEGMENTATION,
            labels=[],
            dimension=3,
            description=f"All structures of {dataset} without a click, by SAM ({model})",
            config={"window": [TRAINED, "auto", *PRESETS]},
        )
        self._engine = engine
        self._predictions = predictions
        self._dataset = dataset
        self._model = model
        self._answers = answers

    def is_valid(self) -> bool:
        """Whether the adapter in use can do it, at the moment."""
        return self._engine.offered(self._dataset) is not None

    def info(self) -> dict[str, Any]:
        """As MONAI Label's, with the labels that the adapter in use knows."""
        settings = self._engine.offered(self._dataset)
        return {**super().info(), "labels": list(settings.names) if settings else []}

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Answer one request with the file of a label map and what to tell about it."""
        start = time.perf_counter()
        image = Path(request["image"])
        with refusals(image):
            asked = read_request(request)
            study = self._engine.slices.read(image)
            read_s = time.perf_counter() - start
            answer = self._engine.segment(study, self._dataset, asked.window or TRAINED)
            answered = time.perf_counter()
            file = self._answers.write(answer.label_map, asked.result_extension, image)
            keep_structures(
                self._predictions,
                str(request.get("image_id", "")),
                answer.label_map,
                # Also those that were not found: what a version before had found of them goes.
                answer.found.label_map.labels.values(),
                answer.adapter,
            )
        end = time.perf_counter()
        seconds = {
            "read": read_s,
            **answer.seconds,
            "write": end - answered,
            "total": end - start,
        }
        return file, self._report(answer, seconds)

    def _report(self, answer: AutoAnswer, seconds: Mapping[str, float]) -> dict[str, Any]:
        found, names = answer.found, answer.label_map.labels
        known = list(found.label_map.labels.values())
        missing = [name for name in known if name not in names.values()]
        return {
            "label_names": {name: value for value, name in names.items()},
            "structures": {name: _structure(answer, name) for name in names.values()},
            "not_found": missing,
            "least_certain": _least_certain(answer),
            "slice_axis": "ijk"[answer.axis],
            "latencies": {step: round(value, 4) for step, value in seconds.items()},
            "notes": [
                *_notes(missing, len(known)),
                *([answer.trouble] if answer.trouble else []),
            ],
            "model": self._model,
            "adapter": answer.adapter,
            "precision": answer.precision,
            "disclaimer": DISCLAIMER,
        }


def _structure(answer: AutoAnswer, name: str) -> dict[str, Any]:
    """Confidence of each slice that holds a structure."""
    here = {
        index: round(value, 4)
        for (label, index), value in sorted(answer.found.confidence.items())
        if label == name
    }
    return {
        "confidence": {str(index): value for index, value in here.items()},
        "least_certain_slice": min(here, key=lambda index: here[index], default=None),
    }


def _least_certain(answer: AutoAnswer) -> dict[str, Any] | None:
    """The structure and slice most worth a look."""
    worst = answer.found.least_certain
    if worst is None:
        return None
    label, index = worst
    return {
        "label": label,
        "slice": index,
        "confidence": round(answer.found.confidence[worst], 4),
    }


def _notes(missing: list[str], known: int) -> list[str]:
    """What the annotator should know beside the masks."""
    if not missing:
        return []
    if len(missing) == known:
        return ["The model found none of its structures in this volume; is it of that region?"]
    return [f"Not found: {', '.join(missing)}."]
