"""The answer to "Next Sample": a case that is free, by a strategy, for this annotator alone."""

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, final

import numpy as np
from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cobot.selection.case_scores import SIGNALS, CaseScores, Signal
from cobot.selection.choose import UNSCORED, Choice, Pool, choose
from cobot.server.leases import Leases
from cobot.server.scored_model import WantedScores
from cobot.server.study_list import StudyList

LEASE_MINUTES = 60
MOST_MINUTES = 7 * 24 * 60

EXPECTED: Mapping[str, str] = {
    "lease_minutes": f"a whole number of minutes from 1 to {MOST_MINUTES}",
    "another": "true or false",
    "signal": f"one of {', '.join(SIGNALS)}",
    "label": "the name of a structure, or nothing for all",
}


class NextCaseOptions(BaseModel):
    """What an annotator may set, as Slicer's table of options shows it.

    Attributes:
        lease_minutes: how long the case is kept for the annotator.
        another: not the case that the annotator has and did not submit.
        signal: what uncertainty is taken from.
        label: the structure whose uncertainty counts; empty takes all.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    lease_minutes: Annotated[int, Field(ge=1, le=MOST_MINUTES)] = LEASE_MINUTES
    another: bool = False
    signal: Signal = "disagreement"
    label: str = ""

    @field_validator("*", mode="before")
    @classmethod
    def _first_choice(cls, value: object) -> object:
        return value[0] if isinstance(value, list) and value else value


def read_next_options(request: Mapping[str, Any]) -> NextCaseOptions:
    """Read the options in a request.

    Raises:
        HTTPException: 422; names the option, its value and what was expected.
    """
    try:
        return NextCaseOptions.model_validate(dict(request))
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        value = str(request.get(name))[:40]
        raise HTTPException(422, f"{name} {value!r}: expected {EXPECTED[name]}.") from None


@final
class CaseChooser:
    """Chooses and leases in one step, so that two annotators never get one case."""

    def __init__(
        self, leases: Leases, scores: WantedScores | None, seed: int | None = None
    ) -> None:
        """Choose among the images of whichever studies are given.

        Args:
            leases: who is at which case.
            scores: of the images; None where they are not files of this machine.
            seed: of what is left to chance.
        """
        self._leases, self._scores = leases, scores
        self._rng = np.random.default_rng(seed)
        self._choosing = threading.Lock()

    def next_case(
        self, strategy: str, request: Mapping[str, Any], studies: StudyList
    ) -> dict[str, Any] | None:
        """What is next for the annotator `client_id`; None if every image has a label.

        The case that the annotator has already is given again, unless another is asked for.

        Raises:
            HTTPException: 422 for an unusable option; 409 if others are at all that is left.
        """
        options = read_next_options(request)
        annotator = str(request.get("client_id") or "")
        with self._choosing:
            unlabelled = studies.get_unlabeled_images()
            if not unlabelled:
                return None
            mine = [] if options.another else self._leases.held_by(annotator, unlabelled)
            choice = (
                Choice(mine[0], "You have it already; ask for another, or submit it.")
                if mine
                else self._chosen(strategy, unlabelled, options, studies)
            )
            lease = self._leases.take(choice.case, annotator, options.lease_minutes * 60.0)
        ends = datetime.fromtimestamp(lease.ends_s, timezone.utc)
        return {"id": choice.case, **_told(choice), "lease_ends": ends.isoformat()}

    def _chosen(
        self,
        strategy: str,
        unlabelled: Sequence[str],
        options: NextCaseOptions,
        studies: StudyList,
    ) -> Choice:
        free = self._leases.free(unlabelled)
        if not free:
            raise HTTPException(409, self._all_taken(unlabelled))
        pool = Pool(dict.fromkeys(free))
        if strategy not in UNSCORED and self._scores is not None:
            pool = self._pool(set(free), studies, self._scores)
        return choose(strategy, pool, self._rng, options.signal, options.label)

    def _pool(self, free: set[str], studies: StudyList, scores: WantedScores) -> Pool:
        """Cases that are labelled or in somebody's hands are covered: their like can wait."""
        images = {one: Path(studies.get_image_uri(one)) for one in studies.list_images()}
        known: dict[str, CaseScores | None] = scores.of(images)
        covered = [one.vector for name, one in known.items() if one and name not in free]
        return Pool({name: known.get(name) for name in free}, covered)

    def _all_taken(self, unlabelled: Sequence[str]) -> str:
        ends_s = self._leases.first_end_s(unlabelled)
        when = datetime.fromtimestamp(ends_s or 0, timezone.utc).strftime("%H:%M UTC")
        return (
            f"All {len(unlabelled)} studies without a label were given to annotators; the first of "
            f"them is free again at {when}, or when it is submitted. Press Next Sample then."
        )


def _told(choice: Choice) -> dict[str, Any]:
    numbers = {"uncertainty": choice.uncertainty, "novelty": choice.novelty}
    return {
        "reason": choice.reason,
        **{name: round(value, 4) for name, value in numbers.items() if value is not None},
    }
