"""What choosing and scoring need of MONAI Label's datastore, without importing MONAI Label."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from cobot.training.corrections import FINAL_TAG


@runtime_checkable
class StudyList(Protocol):
    """Images by name, and which labels each has."""

    def list_images(self) -> list[str]:
        """Every image."""
        ...

    def get_unlabeled_images(self) -> list[str]:
        """Those without a submitted label."""
        ...

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """Tag to name of an image's labels."""
        ...

    def get_image_uri(self, image_id: str) -> str:
        """Where an image is."""
        ...


def studies_to_score(studies: StudyList) -> dict[str, Path]:
    """Name to file of every image, those without a label first: they are what can be chosen."""
    names = studies.list_images()
    labelled = {one for one in names if FINAL_TAG in studies.get_labels_by_image_id(one)}
    ordered = sorted(names, key=lambda one: (one in labelled, one))
    return {one: Path(studies.get_image_uri(one)) for one in ordered}
