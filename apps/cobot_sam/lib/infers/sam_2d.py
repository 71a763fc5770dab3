"""SmartEdit in Slicer: clicks and a ROI on one slice, a mask on that slice."""

import logging
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cobot.errors import CobotError
from cobot.server.engine import SliceAnswer, SliceEngine
from cobot.server.following import NO_ADAPTER
from cobot.server.predictions import GivenMask, PredictionStore
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from lib.infers.answering import DISCLAIMER, AnswerFolder, offered_windows, refusals
from lib.requests import SliceQuestion, choose_slice, read_request

logger = logging.getLogger(__name__)

EMPTY = (
    "The model found nothing here; Slicer then leaves the slice as it was. Click again, or undo."
)


class Sam2D(InferTask):
    """One slice across k, segmented by SAM from clicks and a ROI."""

    def __init__(
        self,
        engine: SliceEngine,
        predictions: PredictionStore,
        answers: AnswerFolder,
        model: str,
        window: str,
    ) -> None:
        """Offer the task; nothing is loaded before the first click.

        Args:
            engine: segments.
            predictions: where answers are kept for training.
            answers: where answers lie until they are sent.
            model: the encoder's name.
            window: the intensity window offered first.
        """
        super().__init__(
            type=InferType.DEEPGROW,
            labels=[],
            dimension=2,
            description=f"Clicks and a ROI on one slice, answered by SAM ({model})",
            config={"window": offered_windows(window)},
        )
        self._engine = engine
        self._predictions = predictions
        self._model = model
        self._window = window
        self._answers = answers

    def is_valid(self) -> bool:
        """Always: weights that are missing are said at the first click, with the cure."""
        return True

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Answer one request with the file of a label map and what to tell about it."""
        start = time.perf_counter()
        image = Path(request["image"])
        with refusals(image):
            clicks = read_request(request)
            study = self._engine.read(image)
            read_s = time.perf_counter() - start
            question = choose_slice(clicks, study.volume.shape)
            answer = self._engine.segment(
                study, question.slice_k, question.prompts, clicks.window or self._window
            )
            written = time.perf_counter()
            file = self._answers.write(answer.label_map, clicks.result_extension, image)
            self._keep(str(request.get("image_id", "")), question, answer)
            viewer = str(request.get("client_id", ""))
            self._engine.embed_ahead(study, question.slice_k, answer.window, viewer)
        end = time.perf_counter()
        seconds = {"read": read_s, **answer.seconds, "write": end - written, "total": end - start}
        return file, self._report(question, answer, seconds)

    def _keep(self, image_id: str, question: SliceQuestion, answer: SliceAnswer) -> None:
        """Remember what was answered about a study: a submitted label will correct it."""
        if not image_id:
            return
        k = question.slice_k
        mask = answer.label_map.voxels[:, :, k] > 0
        now = datetime.now(timezone.utc)
        given = GivenMask(question.prompts.label, k, mask, answer.adapter, now)
        try:
            self._predictions.keep(image_id, given)
        except (CobotError, OSError) as error:
            logger.warning("An answer was not kept for training: %s", error)

    def _report(
        self, question: SliceQuestion, answer: SliceAnswer, seconds: Mapping[str, float]
    ) -> dict[str, Any]:
        label = question.prompts.label
        empty = not answer.label_map.voxels.any()
        return {
            "label_names": {label: 1},
            "slice": question.slice_k,
            "predicted_iou": answer.predicted_iou,
            "window": [answer.window.lower, answer.window.upper],
            "encoder_cached": answer.encoder_cached,
            "latencies": {step: round(value, 4) for step, value in seconds.items()},
            "notes": [
                *question.notes,
                *([EMPTY] if empty else []),
                *([answer.trouble] if answer.trouble else []),
            ],
            "model": self._model,
            "adapter": answer.adapter or NO_ADAPTER,
            "precision": answer.precision,
            "disclaimer": DISCLAIMER,
        }
