"""What a run has to do: each case is new, finished, or has to be done again, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cobot.batch.asking import PromptSource
from cobot.batch.fingerprint import is_unchanged
from cobot.batch.inputs import InputCase
from cobot.batch.manifest import read_record
from cobot.batch.record import CaseRecord
from cobot.errors import CobotError

Action = Literal["segment", "again", "adopt", "finished", "refused"]


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """A case and what is to be done with it.

    Attributes:
        case: which one.
        action: segment: it is new. again: it was segmented, but not so. adopt: it is finished, and
            a run was killed before it could say so. finished: nothing is to be done. refused: it
            failed before, or must fail, and nothing has changed.
        why: in a few words; of a refused case its error.
        prompts_sha256: of what is asked of it.
        record: what is known of it; None if nothing.
    """

    case: InputCase
    action: Action
    why: str
    prompts_sha256: str = ""
    record: CaseRecord | None = None

    @property
    def is_work(self) -> bool:
        """Whether it is to be segmented now."""
        return self.action in ("segment", "again")


@dataclass(frozen=True, slots=True)
class Planner:
    """Compares cases with what an output folder holds.

    Attributes:
        out: the output folder.
        records: what its manifest says, by case.
        settings_sha256: of this run.
        source: of this run's prompts.
        retry_failed: try failed cases again although nothing has changed.
    """

    out: Path
    records: Mapping[str, CaseRecord]
    settings_sha256: str
    source: PromptSource
    retry_failed: bool = False

    def plan(self, case: InputCase) -> PlannedCase:
        """What to do with one case."""
        try:
            prompts = self.source.digest(case)
        except (CobotError, OSError) as error:
            return PlannedCase(case, "refused", str(error))
        listed = self.records.get(case.name)
        beside = read_record(self.out / case.name / f"{case.name}.json")
        if beside is not None:
            wrong = self._difference(case, beside, prompts)
            if wrong is None:
                listed_too = listed is not None and listed.status == "done"
                action: Action = "finished" if listed_too else "adopt"
                return PlannedCase(case, action, "finished before", prompts, beside)
            return PlannedCase(case, "again", wrong, prompts, beside)
        if listed is None:
            return PlannedCase(case, "segment", "new", prompts)
        if listed.status == "done":
            return PlannedCase(case, "again", "its files are gone", prompts, listed)
        return self._after_failure(case, listed, prompts)

    def _after_failure(
        self, case: InputCase, failed: CaseRecord, prompts_sha256: str
    ) -> PlannedCase:
        wrong = self._difference(case, failed, prompts_sha256)
        # Without a fingerprint it was not there or not readable: that may have passed.
        if self.retry_failed or wrong is not None or failed.fingerprint is None:
            return PlannedCase(case, "again", "it failed before", prompts_sha256, failed)
        error = failed.error or "it failed before"
        return PlannedCase(case, "refused", error, prompts_sha256, failed)

    def _difference(self, case: InputCase, record: CaseRecord, prompts_sha256: str) -> str | None:
        """What has changed since a record was written; None if nothing has."""
        if record.settings_sha256 != self.settings_sha256:
            return "model, adapter or settings have changed"
        if record.prompts_sha256 != prompts_sha256:
            return "its prompts have changed"
        missing = [path for path in record.outputs.values() if not (self.out / path).is_file()]
        if missing:
            return f"{missing[0]} is gone"
        try:
            same = record.fingerprint is not None and is_unchanged(case.files, record.fingerprint)
        except CobotError:
            same = False
        return None if same else "the image has changed"
