"""Which scores count now: those of the model that would answer a click, told without loading it."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

from cobot.auto.files import FILE_NAME, read_label_prompts
from cobot.checksum import file_sha256
from cobot.errors import AdapterError
from cobot.sam.adapted_sam import adapter_sha256
from cobot.selection.box_jitter import trained_jitter
from cobot.selection.case_scores import CaseScores, ScoreKey
from cobot.selection.label_boxes import LabelBoxes
from cobot.selection.proposals import BoxProposer
from cobot.selection.score_case import ScoreSettings
from cobot.selection.score_store import ScoreStore
from cobot.server.following import AdapterSource
from cobot.server.study import FileStamp


@dataclass(frozen=True, slots=True)
class ScoredModel:
    """A model whose scores are wanted.

    Attributes:
        adapter: version; None is the base alone.
        adapter_sha256: of that version; empty for the base.
        settings: how it is to be doubted: by the box jitter it was trained with.
    """

    adapter: str | None
    adapter_sha256: str
    settings: ScoreSettings


@final
class WantedScores:
    """The stored scores of whichever model is wanted at the moment.

    Reading them costs a look at each file; the weights are hashed once, an adapter when it is new.
    An adapter that carries label prompts is asked about its own labels, from the moment it does.
    """

    def __init__(
        self,
        store: ScoreStore,
        adapters: AdapterSource,
        base_sha256: Callable[[], str],
        window: str = "auto",
        settings: ScoreSettings | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            store: where scores are.
            adapters: says which version is wanted.
            base_sha256: of the base's weights; asked for once.
            window: as images are shown.
            settings: how they are scored, but for the jitter, which is the adapter's, and for the
                boxes of an adapter that proposes its own.
        """
        self.window = window
        self._store, self._adapters = store, adapters
        self._settings = settings or ScoreSettings()
        self._base_sha256 = base_sha256
        self._known = _Known()

    def model(self) -> ScoredModel:
        """The model that is wanted now.

        Raises:
            AdapterError: it cannot be told, or the version is damaged.
        """
        version = self._adapters.wanted()
        folder = None if version is None else self._adapters.folder(version)
        seen = version, folder is not None and (folder / FILE_NAME).exists()
        with self._known.lock:
            if seen not in self._known.models:
                self._known.models[seen] = self._described(version, folder)
            return self._known.models[seen]

    def key(self, image: Path, model: ScoredModel) -> ScoreKey:
        """Of an image as its file is now."""
        with self._known.lock:
            self._known.base_sha256 = self._known.base_sha256 or self._base_sha256()
        settings = f"{model.settings.name} window={self.window}"
        stamp = FileStamp.of(image)
        content = f"{stamp.changed_ns} {stamp.size_bytes}"
        return ScoreKey(content, self._known.base_sha256, model.adapter_sha256, settings)

    def of(self, images: Mapping[str, Path]) -> dict[str, CaseScores | None]:
        """Image to its scores; None where there are none of the model that is wanted now."""
        try:
            model = self.model()
        except AdapterError:
            return dict.fromkeys(images)
        return {
            image_id: self._store.get(image_id, self.key(path, model))
            for image_id, path in images.items()
        }

    def missing(self, images: Iterable[tuple[str, Path]], model: ScoredModel) -> Iterable[str]:
        """Those of some images that have no scores of a model, in their order."""
        return (one for one, path in images if self._store.get(one, self.key(path, model)) is None)

    def keep(self, image_id: str, key: ScoreKey, scores: CaseScores) -> None:
        """Store an image's scores.

        Raises:
            ImageWriteError: the disk refuses.
        """
        self._store.put(image_id, key, scores)

    def _described(self, version: str | None, folder: Path | None) -> ScoredModel:
        if version is None or folder is None:
            return ScoredModel(None, "", self._settings)
        file = self._adapters.read(version)
        jitter = replace(self._settings.jitter, style=trained_jitter(file.card.recipe))
        prompts = read_label_prompts(folder)
        proposer: BoxProposer = self._settings.proposer
        if prompts is not None:
            proposer = LabelBoxes(prompts, file_sha256(folder / FILE_NAME))
        settings = replace(self._settings, jitter=jitter, proposer=proposer)
        return ScoredModel(version, adapter_sha256(file), settings)


@dataclass(slots=True)
class _Known:
    """What never changes once it was read."""

    base_sha256: str = ""
    models: dict[tuple[str | None, bool], ScoredModel] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
