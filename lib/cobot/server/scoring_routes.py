"""Watching and waking the scoring, at the address where MONAI Label has its own.

MONAI Label would start a process for each method, which loads the model again; here the server's
own thread does the work, with the model that answers clicks.
"""

from dataclasses import asdict
from typing import Any, Protocol, runtime_checkable

from fastapi import APIRouter, HTTPException
from monailabel.interfaces.utils.app import app_instance

from cobot.server.scoring import BackgroundScoring

router = APIRouter(prefix="/scoring", tags=["Scoring"])


@runtime_checkable
class ScoringApp(Protocol):
    """An app that scores its studies."""

    scoring: BackgroundScoring | None


@router.get("/")
def scoring_status() -> dict[str, Any]:
    """How many studies have scores of the model in use."""
    return asdict(_scoring().status())


@router.post("/")
@router.post("/{method}")
def start_scoring(method: str = "") -> dict[str, Any]:
    """Look for studies without scores now; it does so by itself every few seconds."""
    scoring = _scoring()
    scoring.wake()
    return asdict(scoring.status())


def _scoring() -> BackgroundScoring:
    app = app_instance()
    if not isinstance(app, ScoringApp) or app.scoring is None:
        raise HTTPException(
            404,
            "This server scores no studies: it was started with --no-scoring, or its studies "
            "are not a folder of this machine.",
        )
    return app.scoring
