"""MONAI Label's endpoints that this server offers, with safe defaults, as one ASGI app.

Only what is listed here is served: no `/reload`, no uploading of model files, no DICOM proxy, no
archives unpacked. Run it by `cobot serve`, or by
`monailabel start_server --uvicorn_app cobot.server.app:app`.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, runtime_checkable

from fastapi import APIRouter, Depends, FastAPI, File, Form, HTTPException, Request, UploadFile
from fastapi.background import BackgroundTasks
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from monailabel.config import settings
from monailabel.endpoints import (
    activelearning,
    batch_infer,
    datastore,
    info,
    logs,
    model,
    session,
)
from monailabel.endpoints.infer import ResultType, run_inference
from monailabel.interfaces.exception import (
    ImageNotFoundException,
    LabelNotFoundException,
    MONAILabelException,
)
from monailabel.interfaces.utils.app import app_instance

from cobot.server import scoring_routes, training_routes, upload_routes
from cobot.server.client_params import read_params
from cobot.server.datastore import KeepingDatastore
from cobot.server.names import require_safe_name

SERVER_KEYS = frozenset({"image", "image_id", "model", "session", "session_id", "description"})
"""Decided by the server from the address; a client's `params` may not override them."""

infer = APIRouter(prefix="/infer", tags=["Infer"])


@infer.post("/{model}")
def infer_image(
    background_tasks: BackgroundTasks,
    model: str,
    image: str = "",
    session_id: str = "",
    params: str = Form("{}"),
    file: UploadFile = File(None),  # noqa: B008 (FastAPI's way to say a form field)
    label: UploadFile = File(None),  # noqa: B008
    output: ResultType | None = None,
) -> Any:
    """Answer one request in a worker thread, so that others are answered meanwhile."""
    if not (image or session_id or file):
        raise HTTPException(422, "No image was named; load one with Next Sample in Slicer first.")
    checked = json.dumps(client_params(params))
    return run_inference(background_tasks, model, image, session_id, checked, file, label, output)


def client_params(text: str) -> dict[str, Any]:
    """A client's `params` without the keys that are the server's.

    Raises:
        HTTPException: 422; the text is not a JSON object.
    """
    params = read_params(text)
    if "label_tag" in params:
        require_safe_name("label_tag", str(params["label_tag"]))
    return {key: value for key, value in params.items() if key not in SERVER_KEYS}


def check_names(request: Request) -> None:
    """Refuse names in the address that lead out of a folder.

    The name of a study was read from the folder, so it is one part of a path however odd it is.
    """
    for what in ("image", "id", "label", "tag"):
        for name in request.query_params.getlist(what):
            if name and (what == "tag" or not _is_study(name)):
                require_safe_name(what, name)


def _is_study(name: str) -> bool:
    studies = app_instance().datastore()
    return isinstance(studies, KeepingDatastore) and bool(studies.get_image_uri(name))


async def clean_up_refused(background_tasks: BackgroundTasks) -> AsyncIterator[None]:
    """Do what was left for after the answer also where there is none.

    FastAPI drops it then, and with it MONAI Label's deletion of what was uploaded.
    """
    async with AsyncExitStack() as refused:
        refused.push_async_callback(background_tasks)
        yield
        refused.pop_all()


def refuse_archives(request: Request) -> None:
    """Refuse to unpack an uploaded archive: its members may lead out of the folder."""
    if request.query_params.get("uncompress", "false").lower() not in ("", "0", "false", "no"):
        raise HTTPException(422, "This server unpacks no archives; send the image files.")


def refuse_changes(request: Request) -> None:
    """Refuse to replace or delete model files over the network."""
    if request.method not in ("GET", "HEAD"):
        raise HTTPException(405, "Model files are not changed over the network; train an adapter.")


@runtime_checkable
class ClosableApp(Protocol):
    """An app with something to tidy when the server ends."""

    def close(self) -> None:
        """Tidy up."""
        ...


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Build the MONAI Label app before the first request; no model is loaded.

    A training ends with the server: otherwise the server would wait for it, for hours. So do
    answers on their way: a process that a signal ends takes no leave of its temporary folders.
    """
    instance = app_instance()
    instance.server_mode(True)
    instance.on_init_complete()
    yield
    training_routes.stop_training()
    if isinstance(instance, ClosableApp):
        instance.close()


def create_app() -> FastAPI:
    """The ASGI app; MONAI Label's settings say which app and studies it serves."""
    asgi = FastAPI(title="sam-cobot", docs_url="/", redoc_url=None, lifespan=lifespan)
    for module in (info, activelearning, training_routes, scoring_routes, batch_infer, logs):
        asgi.include_router(module.router)
    asgi.include_router(infer, dependencies=[Depends(clean_up_refused)])
    for stored in (upload_routes, datastore):
        asgi.include_router(
            stored.router, dependencies=[Depends(clean_up_refused), Depends(check_names)]
        )
    asgi.include_router(session.router, dependencies=[Depends(refuse_archives)])
    asgi.include_router(model.router, dependencies=[Depends(refuse_changes)])
    asgi.add_exception_handler(MONAILabelException, explain)
    _add_origins(asgi)
    return asgi


def explain(_: Request, error: Exception) -> JSONResponse:
    """MONAI Label's own refusals, which would otherwise be a bare 500, as readable text."""
    missing = isinstance(error, ImageNotFoundException | LabelNotFoundException)
    message = str(getattr(error, "msg", error))
    return JSONResponse({"detail": message}, status_code=404 if missing else 400)


def _add_origins(asgi: FastAPI) -> None:
    """Let pages of other origins call this server only if the settings name them."""
    origins = [str(origin).rstrip("/") for origin in settings.MONAI_LABEL_CORS_ORIGINS]
    if origins:
        asgi.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"]
        )


app = create_app()
