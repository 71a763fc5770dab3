"""The batch's report: one page that needs nothing but itself."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from cobot.atomic import atomic_path
from cobot.batch.record import CaseRecord
from cobot.report.batch_cases import ReviewedBatch, review_batch
from cobot.report.case_pictures import PICTURES
from cobot.report.case_view import CHART_HEIGHT, CHART_WIDTH, view_case
from cobot.report.case_warnings import LOW_DICE, LOW_MEAN, LOW_SLICE, MANY_PIECES

REPORT_NAME = "report.html"
TEMPLATE = "page.html.j2"

PICTURED_CASES = 200
"""Beyond so many the page would be too heavy to open: about 30 kB a picture."""

WARNING_LINES = 8
"""Of one case, before the reader must ask for more."""

TOLERANCE_MM = 2.0


def write_report(folder: Path, truth: Path | None = None) -> Path:
    """Write `report.html` into a batch's output folder; it replaces an earlier one.

    Cases that need a look come first. Names are escaped, scripts and network are not used, and no
    patient field is read.

    Args:
        folder: the output of `cobot segment`.
        truth: folder of true masks named for the cases, to add Dice, surface Dice and HD95.

    Returns:
        The page's path.

    Raises:
        ConfigError: the folder holds no batch, or no truth fits a case.
        ImageWriteError: the page cannot be written.
    """
    html = render_page(review_batch(folder, truth, TOLERANCE_MM), folder)
    path = folder / REPORT_NAME
    with atomic_path(path) as part:
        part.write_text(html, encoding="utf-8")
    return path


def render_page(batch: ReviewedBatch, folder: Path) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("cobot.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    views = [
        view_case(case, number, folder, number <= PICTURED_CASES)
        for number, case in enumerate(batch.done, start=1)
    ]
    dice = [value for case in batch.done if (value := case.mean_dice) is not None]
    return environment.get_template(TEMPLATE).render(
        title=folder.resolve().name,
        today=date.today().isoformat(),
        batch=batch,
        views=views,
        to_look_at=sum(1 for case in batch.done if case.warnings),
        mean_dice=float(np.mean(dice)) if dice else None,
        models=_models([case.record for case in batch.done]),
        chart=(CHART_WIDTH, CHART_HEIGHT),
        limits={
            "slice": LOW_SLICE,
            "mean": LOW_MEAN,
            "dice": LOW_DICE,
            "pieces": MANY_PIECES,
            "pictures": PICTURES,
            "pictured": PICTURED_CASES,
            "lines": WARNING_LINES,
        },
    )


def _models(records: Sequence[CaseRecord]) -> list[str]:
    """What made the masks, each once; more than one tells that a batch was mixed."""
    found = {
        f"{known.model}{f' + {known.adapter}' if known.adapter else ''}, "
        f"window {known.window}, prompts: {known.prompts}, cobot {known.cobot_version}"
        for record in records
        if (known := record.provenance) is not None
    }
    return sorted(found)
