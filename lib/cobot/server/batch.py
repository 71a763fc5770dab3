"""`/batch/infer`: one model over many studies; one that fails is told of, and the rest goes on."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask

from cobot.errors import CobotError
from cobot.server.worker import end_with_server

logger = logging.getLogger(__name__)


class BatchAnswers(BatchInferTask):  # type: ignore[misc]
    """One study after the other, on the device that the server was started with.

    MONAI Label's own shares the studies among GPUs by name, which fails where there is none, and
    ends at the first study that cannot be answered.
    """

    def __call__(
        self,
        request: Mapping[str, Any],
        datastore: Datastore,
        infer: Callable[[dict[str, Any], Datastore], Mapping[str, Any]],
    ) -> dict[str, dict[str, Any]]:
        """Answer for every study asked for and keep the masks under the tag.

        Returns:
            Study to what is told of it: label, tag and params, or `error`.
        """
        # In a process of its own nobody could see or stop it once the server is gone.
        end_with_server()
        studies = sorted(self.get_images(request, datastore))
        most = int(request.get("max_batch_size") or 0)
        studies = studies[:most] if most > 0 else studies
        answers: dict[str, dict[str, Any]] = {}
        for number, study in enumerate(studies, start=1):
            asked = {**request, "image": study, "save_label": True}
            try:
                answers[study] = _without_file(infer(asked, datastore))
            except (HTTPException, CobotError, OSError) as error:
                answers[study] = {"error": str(getattr(error, "detail", error))}
            word = "not answered" if "error" in answers[study] else "answered"
            logger.info("Study %d of %d %s.", number, len(studies), word)
        return answers


def _without_file(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The mask is stored already; the temporary file goes."""
    if answer.get("file"):
        Path(answer["file"]).unlink(missing_ok=True)
    return {key: value for key, value in answer.items() if key != "file"}
