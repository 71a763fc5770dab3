"""A folder of studies whose labels are never lost: what is replaced is copied first."""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from filecmp import cmp
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from filelock import FileLock
from monailabel.datastore.local import LocalDatastore, LocalDatastoreModel
from watchdog.events import FileSystemEvent

from cobot.atomic import atomic_path
from cobot.errors import CobotError
from cobot.io import read_grid, write_label_map
from cobot.server.following import NO_ADAPTER
from cobot.server.label_check import check_label
from cobot.server.names import label_names, require_safe_name, unknown_image
from cobot.server.predictions import GivenMask, PredictionStore, compose
from cobot.training.corrections import FINAL_TAG, PREDICTION_TAG
from cobot.volume import LabelMap

logger = logging.getLogger(__name__)

EXTENSIONS = ("*.nii.gz", "*.nii", "*.nrrd", "*.mha")
"""One file a volume, readable by Slicer and by `cobot.io`."""


class KeepingDatastore(LocalDatastore):  # type: ignore[misc]
    """Final. MONAI Label's folder datastore that keeps every label ever submitted.

    `labels/<tag>/` holds the newest label of each image, as MONAI Label has it;
    `labels/history/<image>/` holds the ones it replaced or deleted, each with the information it
    was submitted with. With a submitted label, what the model had answered for the same structures
    is laid into `labels/original/`, and the label's information says which adapter version that
    was, and when.

    A batch works on the same folder from a process of its own. So whoever changes the record takes
    a lock that all processes and threads share, reads what the others wrote, and holds it until
    the change is written.
    """

    def __init__(
        self,
        studies: str,
        auto_reload: bool,
        predictions: PredictionStore | None = None,
        read_only: bool = False,
    ) -> None:
        """Open a folder of studies.

        Args:
            studies: the folder.
            auto_reload: watch it for files that come and go.
            predictions: what the model answered; None keeps none with the labels.
            read_only: take the record of the folder as it is, and add no new files to it.
        """
        # MONAI Label's own .lock is let go between reading and writing.
        self._record_lock = FileLock(Path(studies) / ".record.lock")
        self._predictions = predictions
        super().__init__(
            studies, extensions=EXTENSIONS, auto_reload=auto_reload, read_only=read_only
        )
        if auto_reload:
            self._handler.on_moved = self._on_moved

    @contextmanager
    def _newest_record(self) -> Iterator[None]:
        """Hold the record, as it is on the disk now, until a change of it is written."""
        with self._record_lock:
            # A record that was replaced twice within a tick of the disk's clock has one time.
            self._config_ts = 0.0
            self._init_from_datastore_file()
            yield

    def _on_moved(self, event: FileSystemEvent) -> None:
        """What appears whole under its name: a record from another process, or an image."""
        if event.dest_path == self._datastore_config_path:
            with self._newest_record():
                return
        self.refresh()

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Store an uploaded image under its name, never over another image.

        Raises:
            HTTPException: 422 for an unusable name or file type; 409 if another image has it.
        """
        self._require_known_type(image_filename)
        image_id = image_id or self._to_id(Path(image_filename).name)[0]
        with self._newest_record():
            # The record may still name a file that was deleted a moment ago.
            existing = self.get_image_uri(image_id)
            if not existing or not Path(existing).is_file():
                require_safe_name("image", image_id)
                return str(super().add_image(image_id, image_filename, image_info))
            if cmp(existing, image_filename, shallow=False):
                return image_id
        raise HTTPException(
            409,
            f"Another image is already called {image_id!r}; rename the volume in Slicer and "
            "upload it again.",
        )

    def remove_image(self, image_id: str) -> None:
        """Take an image and its labels out of the studies; what a link points at stays."""
        with self._newest_record():
            image = self._datastore.objects.get(image_id)
            if image is not None:
                name = self._filename(image_id, image.image.ext)
                listed = Path(self._datastore.image_path()) / name
                # MONAI Label would follow the link and delete the file in the download.
                if listed.is_symlink():
                    listed.unlink()
            if self._predictions is not None:
                self._predictions.forget(image_id)
            super().remove_image(image_id)

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]
    ) -> str:
        """Store a label; the one it replaces is copied to the history first.

        A final label is stored with the prediction that it corrects.

        Raises:
            HTTPException: 404 if the image is unknown; 422 for an unusable tag, file type or list
                of structures, and for a label that cannot be read or has another shape than its
                image.
        """
        require_safe_name("tag", label_tag)
        self._require_known_type(label_filename)
        info = {**(label_info or {}), **label_names((label_info or {}).get("label_info"))}
        names: Mapping[str, int] = info.get("label_names", {})
        check_label(Path(label_filename), self._image(image_id))
        corrects = self._corrected(image_id, names) if label_tag == FINAL_TAG else ()
        if label_tag == FINAL_TAG:
            info |= _origin(corrects)
        with self._newest_record():
            self._image(image_id)
            label_id = self._replace(image_id, label_filename, label_tag, info)
            if corrects:
                self._keep_prediction(image_id, names, corrects)
        return label_id

    def _image(self, image_id: str) -> Path:
        """Where an image is.

        Raises:
            HTTPException: 404; there is none of that name, or its file is gone.
        """
        uri = self.get_image_uri(image_id)
        if not uri or not Path(uri).is_file():
            raise HTTPException(404, unknown_image(image_id))
        return Path(uri)

    def _replace(self, image_id: str, file: str, tag: str, info: dict[str, Any]) -> str:
        """Store a label in the place of the one there is, which goes to the history."""
        replaced = self._keep(image_id, tag)
        label_id = str(super().save_label(image_id, file, tag, info))
        current = Path(self.get_label_uri(image_id, tag))
        if replaced is not None and replaced != current:
            replaced.unlink(missing_ok=True)
        return label_id

    def _corrected(self, image_id: str, names: Mapping[str, int]) -> tuple[GivenMask, ...]:
        """What the model answered for the structures of a label."""
        if self._predictions is None:
            return ()
        return tuple(one for one in self._predictions.of(image_id) if one.label in names)

    def _keep_prediction(
        self, image_id: str, names: Mapping[str, int], given: tuple[GivenMask, ...]
    ) -> None:
        """Lay the answers beside the label; failing at it never loses the label."""
        image = Path(self.get_image_uri(image_id))
        try:
            grid = read_grid(image)
            values = {value: name for name, value in names.items()}
            voxels = compose(given, names, grid.shape)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "prediction.nii.gz"
                write_label_map(LabelMap(voxels, grid.affine, values), file, like=image)
                info = {"label_names": dict(names), **_origin(given)}
                self._replace(image_id, str(file), PREDICTION_TAG, info)
        except (CobotError, OSError) as error:
            logger.warning("A prediction was not kept with its label: %s", error)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Take a label out of use; a copy stays in the history."""
        require_safe_name("tag", label_tag)
        with self._newest_record():
            self._keep(label_id, label_tag)
            super().remove_label(label_id, label_tag)

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Add to what is known of an image."""
        with self._newest_record():
            super().update_image_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Add to what is known of a label."""
        with self._newest_record():
            super().update_label_info(label_id, label_tag, info)

    def _reconcile_datastore(self) -> None:
        """Bring the record in line with the files that came and went."""
        with self._newest_record():
            super()._reconcile_datastore()

    def _remove_non_existing(self) -> int:
        """Also hidden files that were taken for studies once."""
        gone = int(super()._remove_non_existing())
        hidden = [name for name in self._datastore.objects if name.startswith(".")]
        for name in hidden:
            del self._datastore.objects[name]
        return gone + len(hidden)

    def _list_files(self, path: str, patterns: tuple[str, ...]) -> dict[str, str]:
        """Without hidden files: macOS lays one called `._NAME` beside each on a foreign disk."""
        found = super()._list_files(path, patterns)
        return {name: file for name, file in found.items() if not name.startswith(".")}

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        """Read the record if it has changed.

        As MONAI Label's, but what other threads see of it knows its folder at every moment.

        Raises:
            ValueError: it is damaged, and `throw_exception` asks to be told.
        """
        record = Path(self._datastore_config_path)
        with FileLock(self._lock_file):
            if not record.exists() or record.stat().st_mtime == self._config_ts:
                return
            try:
                newest = LocalDatastoreModel.model_validate_json(record.read_bytes())
            except ValueError as error:
                logger.error("%s is damaged: %s", record.name, error)
                if throw_exception:
                    raise
                return
            newest.base_path = self._datastore_path
            self._datastore, self._config_ts = newest, record.stat().st_mtime

    def _keep(self, image_id: str, tag: str) -> Path | None:
        """Copy the present label and its information to the history; return where it lies."""
        uri = self.get_label_uri(image_id, tag)
        if not uri or not Path(uri).is_file():
            return None
        present = Path(uri)
        folder = Path(self._datastore.label_path("history")) / image_id
        folder.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
        kept = folder / f"{tag}-{stamp}{self._to_id(present.name)[1]}"
        with atomic_path(kept) as partial:
            shutil.copyfile(present, partial)
        with atomic_path(folder / f"{tag}-{stamp}.json") as partial:
            partial.write_text(json.dumps(self.get_label_info(image_id, tag), indent=2))
        return present

    def _update_datastore_file(self, lock: bool = True) -> None:
        """Write the record whole or not at all; MONAI Label would truncate it first.

        A training reads it from another process, and it alone says what labels' values mean.
        """
        if lock:
            with FileLock(self._lock_file):
                self._update_datastore_file(lock=False)
            return
        record = Path(self._datastore_config_path)
        content = self._datastore.model_dump(exclude={"base_path"})
        with atomic_path(record) as partial:
            partial.write_text(json.dumps(content, indent=2, default=str), encoding="utf-8")
        self._config_ts = os.stat(record).st_mtime

    def _require_known_type(self, filename: str) -> None:
        if not filename.endswith(tuple(pattern.lstrip("*") for pattern in EXTENSIONS)):
            known = ", ".join(pattern.lstrip("*") for pattern in EXTENSIONS)
            raise HTTPException(
                422, f"File type of {Path(filename).name!r} is unknown; send one of {known}."
            )


def _origin(given: tuple[GivenMask, ...]) -> dict[str, object]:
    """When a label was submitted, and which version had answered what before, and when."""
    origin: dict[str, object] = {"submitted": datetime.now(timezone.utc).isoformat()}
    if given:
        newest = max(given, key=lambda one: one.time)
        answers: dict[str, list[dict[str, object]]] = {}
        for one in given:
            answers.setdefault(one.label, []).append(one.note())
        origin |= {"adapter_version": newest.adapter or NO_ADAPTER, "predictions": answers}
    return origin
