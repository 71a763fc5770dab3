"""Taking in images and labels in a worker thread, at the addresses where MONAI Label has its own.

MONAI Label's own check a whole volume while nobody else is answered, and fail at `params` that are
no object without a word.
"""

from typing import Any

from fastapi import APIRouter, Depends, File, Form, UploadFile
from fastapi.background import BackgroundTasks
from monailabel.config import settings
from monailabel.endpoints import datastore
from monailabel.endpoints.user.auth import RBAC, User

from cobot.server.client_params import checked_params
from cobot.training.corrections import FINAL_TAG

router = APIRouter(prefix="/datastore", tags=["Datastore"])

ANNOTATOR = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))


@router.put("/", include_in_schema=False)
@router.put("/image")
def add_image(
    background_tasks: BackgroundTasks,
    image: str | None = None,
    params: str = Form("{}"),
    file: UploadFile = File(...),  # noqa: B008 (FastAPI's way to say a form field)
    user: User = ANNOTATOR,
) -> Any:
    """Store an image under its name."""
    return datastore.add_image(background_tasks, image, checked_params(params), file, user.username)


@router.put("/label")
def save_label(
    background_tasks: BackgroundTasks,
    image: str,
    params: str = Form("{}"),
    tag: str = FINAL_TAG,
    label: UploadFile = File(...),  # noqa: B008
    user: User = ANNOTATOR,
) -> Any:
    """Store a label of an image; the one it replaces stays in the history."""
    return datastore.save_label(
        background_tasks, image, checked_params(params), tag, label, user.username
    )
