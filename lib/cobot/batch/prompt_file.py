"""The file of prompts: what to segment in which image, checked before any work begins."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from cobot.batch.record import Value
from cobot.errors import PromptError

Space = Literal["ijk", "ras_mm"]
Place = tuple[float, float, float]
ANY_CASE = "*"


def one_line_name(name: str) -> str:
    """A structure's name without the blanks around it.

    Raises:
        ValueError: it is empty, or holds a tab, a line break or another control character.
    """
    if not name.strip() or not name.isprintable():
        raise ValueError(
            f"label {name!r} is not a name in one line of printable characters; rename it"
        )
    return name.strip()


Name = Annotated[str, AfterValidator(one_line_name)]


class PointPrompt(Value):
    """A click.

    Attributes:
        at: voxel index i, j, k, or millimetres to the right, the front, the head.
        positive: on the object; False: on the background.
    """

    at: Place
    positive: bool = True


class ObjectPrompt(Value):
    """Everything asked about one structure.

    Attributes:
        label: its name, in one line.
        boxes: two opposite corners each, both inside. A box covers all slices between them; one
            that is flat along the axis of the slices covers one.
        points: clicks.
    """

    label: Name
    boxes: tuple[tuple[Place, Place], ...] = ()
    points: tuple[PointPrompt, ...] = ()

    @model_validator(mode="after")
    def _asks_something(self) -> "ObjectPrompt":
        if not self.boxes and not any(point.positive for point in self.points):
            raise ValueError(f"{self.label!r} has neither a box nor a positive point")
        return self


class CasePrompts(Value):
    """What is asked of one image.

    Attributes:
        space: of its numbers; None takes the file's.
        objects: one for each label.
    """

    space: Space | None = None
    objects: Annotated[tuple[ObjectPrompt, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _labels_once(self) -> "CasePrompts":
        names = [one.label for one in self.objects]
        if len(set(names)) < len(names):
            raise ValueError(f"a label is given twice in {names}; put its boxes into one object")
        return self


class PromptFile(Value):
    """Prompts of many images.

    Attributes:
        version: of this format.
        space: of the numbers where a case does not say.
        labels: value in the mask to name; without it, values count from 1 in the order in which
            the labels first appear in the file.
        cases: path below the named folder, file name, or name of the case, to its prompts; "*" is
            for every image without an entry of its own.
    """

    version: Literal[1] = 1
    space: Space = "ijk"
    labels: Mapping[Annotated[int, Field(ge=1, le=65535)], Name] = {}
    cases: Annotated[Mapping[str, CasePrompts], Field(min_length=1)]

    @model_validator(mode="after")
    def _usable(self) -> "PromptFile":
        for name, case in self.cases.items():
            if (case.space or self.space) == "ijk":
                for one in case.objects:
                    _require_whole(name, one)
        named = set(self.labels.values())
        if len(named) < len(self.labels):
            raise ValueError(
                f"labels name one structure twice: {dict(self.labels)}; give each name one value"
            )
        unnamed = {one.label for case in self.cases.values() for one in case.objects} - named
        if named and unnamed:
            raise ValueError(f"labels give no value to {sorted(unnamed)}")
        return self

    def values(self) -> dict[int, str]:
        """Value to name, the same for every image."""
        if self.labels:
            return dict(sorted(self.labels.items()))
        names = dict.fromkeys(one.label for case in self.cases.values() for one in case.objects)
        return dict(enumerate(names, start=1))


def read_prompt_file(path: Path) -> PromptFile:
    """Read a file of prompts; docs/batch.md shows one.

    Raises:
        PromptError: it cannot be read, is no JSON, or a field is wrong: all wrong ones are named.
    """
    try:
        return PromptFile.model_validate(json.loads(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise PromptError(
            f"--prompts {path} cannot be read ({error.strerror}); give a JSON file of prompts."
        ) from error
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors()
        )
        raise PromptError(
            f"--prompts {path} does not fit the schema: {wrong}. docs/batch.md describes it."
        ) from error
    except ValueError as error:
        raise PromptError(f"--prompts {path} is not JSON: {error}.") from error


def _require_whole(case: str, target: ObjectPrompt) -> None:
    corners = [place for box in target.boxes for place in box]
    for place in [*corners, *(point.at for point in target.points)]:
        if any(number != round(number) for number in place):
            raise ValueError(
                f"case {case!r}, {target.label!r}: {list(place)} is no voxel index; give whole "
                'numbers, or say "space": "ras_mm"'
            )
