"""A folder of studies whose labels are never lost: what is replaced is copied first."""

import json
import shutil
import threading
from datetime import datetime, timezone
from filecmp import cmp
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.datastore.local import LocalDatastore

from cobot.atomic import atomic_path
from cobot.server.names import label_names, require_safe_name, unknown_image

EXTENSIONS = ("*.nii.gz", "*.nii", "*.nrrd", "*.mha")
"""One file a volume, readable by Slicer and by `cobot.io`."""


class KeepingDatastore(LocalDatastore):  # type: ignore[misc]
    """Final. MONAI Label's folder datastore that keeps every label ever submitted.

    `labels/<tag>/` holds the newest label of each image, as MONAI Label has it;
    `labels/history/<image>/` holds the ones it replaced or deleted, each with the information it
    was submitted with.
    """

    def __init__(self, studies: str, auto_reload: bool) -> None:
        """Open a folder of studies; `auto_reload` watches it for files that come and go."""
        self._saving = threading.Lock()
        super().__init__(studies, extensions=EXTENSIONS, auto_reload=auto_reload)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Store an uploaded image under its name, never over another image.

        Raises:
            HTTPException: 422 for an unusable name or file type; 409 if another image has it.
        """
        self._require_known_type(image_filename)
        image_id = image_id or self._to_id(Path(image_filename).name)[0]
        require_safe_name("image", image_id)
        existing = self.get_image_uri(image_id)
        if existing and cmp(existing, image_filename, shallow=False):
            return image_id
        if existing:
            raise HTTPException(
                409,
                f"Another image is already called {image_id!r}; rename the volume in Slicer and "
                "upload it again.",
            )
        return str(super().add_image(image_id, image_filename, image_info))

    def remove_image(self, image_id: str) -> None:
        """Take an image and its labels out of the studies; what a link points at stays."""
        image = self._datastore.objects.get(image_id)
        if image is not None:
            listed = Path(self._datastore.image_path()) / self._filename(image_id, image.image.ext)
            # MONAI Label would follow the link and delete the file in the download.
            if listed.is_symlink():
                listed.unlink()
        super().remove_image(image_id)

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]
    ) -> str:
        """Store a label; the one it replaces is copied to the history first.

        Raises:
            HTTPException: 404 if the image is unknown, 422 for an unusable tag or file type.
        """
        require_safe_name("tag", label_tag)
        self._require_known_type(label_filename)
        if not self.get_image_uri(image_id):
            raise HTTPException(404, unknown_image(image_id))
        info = {**(label_info or {}), **label_names((label_info or {}).get("label_info"))}
        with self._saving:
            replaced = self._keep(image_id, label_tag)
            label_id = str(super().save_label(image_id, label_filename, label_tag, info))
            current = Path(self.get_label_uri(image_id, label_tag))
            if replaced is not None and replaced != current:
                replaced.unlink(missing_ok=True)
        return label_id

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Take a label out of use; a copy stays in the history."""
        require_safe_name("tag", label_tag)
        with self._saving:
            self._keep(label_id, label_tag)
            super().remove_label(label_id, label_tag)

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

    def _require_known_type(self, filename: str) -> None:
        if not filename.endswith(tuple(pattern.lstrip("*") for pattern in EXTENSIONS)):
            known = ", ".join(pattern.lstrip("*") for pattern in EXTENSIONS)
            raise HTTPException(
                422, f"File type of {Path(filename).name!r} is unknown; send one of {known}."
            )
