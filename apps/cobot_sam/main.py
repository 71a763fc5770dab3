"""The MONAI Label app: lists what Slicer may ask for, and decides nothing else."""

import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from cobot.checksum import file_sha256
from cobot.sam.embeddings import EmbeddingService
from cobot.sam.weights import default_weights_path
from cobot.selection.choose import STRATEGIES
from cobot.selection.score_store import ScoreStore
from cobot.server.auto_engine import AutoEngine
from cobot.server.batch import BatchAnswers
from cobot.server.case_choice import CaseChooser
from cobot.server.datastore import KeepingDatastore
from cobot.server.engine import SliceEngine, sam_loader
from cobot.server.expired_sessions import expired_sessions
from cobot.server.following import DATA_FOLDER, FollowedStore
from cobot.server.leases import Leases
from cobot.server.names import unknown_image
from cobot.server.predictions import PredictionStore
from cobot.server.scored_model import WantedScores
from cobot.server.scoring import BackgroundScoring
from cobot.server.study_list import studies_to_score
from cobot.server.training_report import newest_first
from cobot.server.training_routes import is_training
from cobot.server.volume_engine import VolumeEngine
from cobot.server.worker import is_worker
from cobot.training.corrections import PREDICTION_TAG
from cobot.training.task import TrainingTask
from fastapi import HTTPException
from lib.activelearning.case_strategy import CaseStrategy
from lib.configs.choices import AUTOMATIC, read_choices
from lib.infers.answering import AnswerFolder
from lib.infers.sam_2d import Sam2D
from lib.infers.sam_volume import Sam3D, SamMulti, Serving
from lib.infers.segment import SegmentAll
from lib.trainers.adapter_trainer import AdapterTrainer, TrainingPlace
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask


class CobotSamApp(MONAILabelApp):
    """SAM for CT and MR in 3D Slicer; cheap to make, its model is loaded at the first click."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        """Read the choices, then let MONAI Label ask for the tasks."""
        self.choices = read_choices(conf)
        self.store = self.choices.store_of(Path(studies))
        self.answers = AnswerFolder()
        self.predictions = PredictionStore(Path(studies) / DATA_FOLDER / "predictions")
        followed = FollowedStore(self.store, self.choices.adapter)
        self.engine = SliceEngine(
            sam_loader(
                self.choices.model,
                self.choices.weights,
                self.choices.device,
                self.choices.segmenter_options,
            ),
            EmbeddingService.in_home(disk_bytes=int(self.choices.embeddings_gb * 1e9)),
            adapters=followed,
        )
        base = self.choices.weights or default_weights_path(self.choices.model)
        self.scores = WantedScores(
            ScoreStore(Path(studies) / DATA_FOLDER / "scores"),
            followed,
            lambda: file_sha256(base),
            self.choices.window,
        )
        self.scoring: BackgroundScoring | None = None
        remote = studies.startswith(("http://", "https://"))
        self.leases = Leases(None if remote else Path(studies) / DATA_FOLDER / "leases.json")
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name=f"SAM-COBOT - {self.choices.model}",
            description="SAM with SAM-COBOT adapters for CT and MR. Not for clinical use.",
            labels=list(self.choices.labels),
        )

    def init_datastore(self) -> Datastore:
        """A local folder keeps every label submitted; a remote store is MONAI Label's own."""
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        return KeepingDatastore(
            self.studies,
            settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            self.predictions,
            read_only=is_worker(),
        )

    def init_infers(self) -> dict[str, InferTask]:
        """The tasks named by `--conf models`."""
        model, window = self.choices.model, self.choices.window
        sam_2d = Sam2D(self.engine, self.predictions, self.answers, model, window)
        followed = FollowedStore(self.store, self.choices.adapter)
        automatic = AutoEngine(self.engine, followed)
        offered: dict[str, InferTask] = {
            name: SegmentAll(automatic, self.predictions, self.answers, dataset, model)
            for name, dataset in AUTOMATIC.items()
        }
        volumes = VolumeEngine(self.engine)
        serving = Serving(volumes, self.predictions, self.answers, model, window)
        offered["sam_2d"] = sam_2d
        offered["sam_3d"] = Sam3D(serving)
        offered["sam_multi"] = SamMulti(serving, self.choices.labels)
        return {name: offered[name] for name in self.choices.models}

    def init_batch_infer(self) -> BatchInferTask:
        """One model over many studies."""
        return BatchAnswers()

    def init_trainers(self) -> dict[str, TrainTask]:
        """One for each data set, if the labels are files of this machine."""
        if not isinstance(self._datastore, KeepingDatastore):
            return {}
        chosen = self.choices
        place = TrainingPlace(
            Path(self.studies), self.store, chosen.model, chosen.weights, chosen.device
        )
        return {one.name: AdapterTrainer(TrainingTask.of(one), place) for one in chosen.trainers}

    def init_strategies(self) -> dict[str, Strategy]:
        """Which study comes next, the default first; scores are of studies on this machine."""
        local = isinstance(self._datastore, KeepingDatastore)
        chooser = CaseChooser(self.leases, self.scores if local else None)
        return {name: CaseStrategy(name, chooser) for name in STRATEGIES}

    def on_init_complete(self) -> None:
        """In the server alone: begin to score the studies in the background."""
        super().on_init_complete()
        local = isinstance(self._datastore, KeepingDatastore)
        if local and self.choices.scoring and not is_worker():
            self.scoring = BackgroundScoring(
                self.scores,
                self.engine.in_use,
                lambda: studies_to_score(self._datastore),
                is_training,
            )
            self.scoring.start()

    def on_save_label(self, image_id: str, label_id: str) -> None:
        """A submitted study is nobody's any more."""
        super().on_save_label(image_id, label_id)
        self.leases.release(image_id)

    def info(self) -> dict[str, Any]:
        """As MONAI Label's; Slicer shows the first entry of `train_stats`, so the last run's."""
        found = super().info()
        return {**found, "train_stats": newest_first(found["train_stats"])}

    def cleanup_sessions(self) -> None:
        """Remove what Slicer lent this server and has run out; MONAI Label asks every 5 minutes."""
        if self._sessions is not None:
            folder = Path(self._sessions.store_path)
            expiry_s = float(self._sessions.expiry)
            for name in expired_sessions(folder, expiry_s, time.time()):
                self._sessions.remove_session(name)

    def close(self) -> None:
        """When the server ends: leave no answer behind."""
        self.answers.remove()

    def async_scoring(self, method: str | None, params: dict[str, Any] | None = None) -> Any:
        """Score from the server alone: a training's process would ask a server that may be gone."""
        return super().async_scoring(method, params) if self._server_mode else {}

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> Any:
        """Answer a request about an image this server knows, by a task it offers."""
        if request.get("model") not in self._infers:
            offered = ", ".join(self._infers)
            raise HTTPException(404, f"No model {request.get('model')!r} here; choose {offered}.")
        image = str(request.get("image", ""))
        study = self._study(image)
        if not study and not self._lent(image):
            raise HTTPException(404, unknown_image(image))
        with self.scoring.paused() if self.scoring else nullcontext():
            if not study:
                return super().infer({**request, "image_id": ""}, datastore)
            return self._infer_study(image, study, request, datastore or self._datastore)

    def _study(self, image: str) -> str:
        """The file of the study of that name; empty if there is none."""
        named = image and not Path(image).is_absolute()
        return str(self._datastore.get_image_uri(image)) if named else ""

    def _infer_study(
        self, image_id: str, file: str, request: dict[str, Any], datastore: Datastore
    ) -> Any:
        """Answer about a study by its file.

        MONAI Label would look for the name in the working folder first, and it never stores an
        answer about a file.
        """
        # What is given for a study of this folder is kept for training.
        local = isinstance(self._datastore, KeepingDatastore)
        if local and not is_worker():
            self.leases.renew(image_id, str(request.get("client_id") or ""))
        asked = {**request, "image": file, "image_id": image_id if local else ""}
        answer = super().infer({**asked, "save_label": False}, datastore)
        if request.get("save_label") and answer["file"]:
            info = {"model": request["model"], "params": answer["params"]}
            tag = request.get("label_tag") or PREDICTION_TAG
            answer["label"] = datastore.save_label(image_id, answer["file"], tag, info)
        return answer

    def _lent(self, image: str) -> bool:
        """Whether a file is of a session, or one MONAI Label has just received."""
        path = Path(image)
        if not path.is_absolute() or not path.exists():
            return False
        path = path.resolve()
        sessions = self._sessions and Path(self._sessions.store_path).resolve()
        if sessions and path.is_relative_to(sessions):
            return True
        return path.parent == Path(tempfile.gettempdir()).resolve() and path.name.startswith("tmp")
