"""Scores on the disk: one small file an image, valid for one model, and recomputed if damaged."""

import hashlib
import io
import json
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import final
from zipfile import BadZipFile

import numpy as np

from cobot.atomic import atomic_path
from cobot.selection.case_scores import CaseScores, ObjectScore, ScoreKey


@final
class ScoreStore:
    """A folder of scores; what was read is kept in memory. May be shared by threads.

    Names of images are hashed: they may name a patient. A file that cannot be read is deleted and
    counts as none.
    """

    def __init__(self, folder: Path) -> None:
        """Use a folder, made when first written to."""
        self._folder = folder
        self._lock = threading.Lock()
        self._kept: dict[Path, tuple[str, CaseScores]] = {}

    def put(self, image_id: str, key: ScoreKey, scores: CaseScores) -> None:
        """Keep an image's scores, in place of those of another model.

        Raises:
            ImageWriteError: the disk refuses.
        """
        path = self._path(image_id)
        with self._lock:
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as partial:
                _write(partial, key.digest, scores)
            self._kept[path] = (key.digest, scores)

    def get(self, image_id: str, key: ScoreKey) -> CaseScores | None:
        """The scores under this very key, or None."""
        path = self._path(image_id)
        with self._lock:
            if path not in self._kept and path.exists():
                self._read(path)
            digest, scores = self._kept.get(path, ("", None))
        return scores if digest == key.digest else None

    def _read(self, path: Path) -> None:
        try:
            self._kept[path] = _read(path)
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile):
            with suppress(OSError):
                path.unlink()

    def _path(self, image_id: str) -> Path:
        return self._folder / f"{hashlib.sha256(image_id.encode()).hexdigest()[:32]}.npz"


def _write(path: Path, digest: str, scores: CaseScores) -> None:
    objects = {label: asdict(one) for label, one in scores.objects.items()}
    note = json.dumps({"key": digest, "objects": objects})
    with path.open("wb") as file:
        np.savez(file, vector=scores.vector, note=note)


def _read(path: Path) -> tuple[str, CaseScores]:
    # Through memory: of a damaged file numpy would leave the handle open.
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
        vector, note = arrays["vector"], json.loads(str(arrays["note"]))
    objects = {label: ObjectScore(**one) for label, one in note["objects"].items()}
    return str(note["key"]), CaseScores(objects, vector.astype(np.float32))
