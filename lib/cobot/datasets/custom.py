"""A data set of one's own, described in one TOML file."""

import sys
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from cobot.datasets.description import Dataset, OrganGroup, PlaneName, Terms
from cobot.errors import DatasetError, WindowError
from cobot.intensity import PRESETS, FixedWindow, IntensityWindow, WindowRule

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Bound = Annotated[float, Field(allow_inf_nan=False)]
WindowText = StrictStr | tuple[Bound, Bound]


class _GroupText(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: tuple[StrictStr, ...] = Field(min_length=1)
    window: WindowText


class _DatasetText(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: StrictStr | None = None
    window: WindowText
    plane: PlaneName = "acquired"
    licence: StrictStr = "your own"
    terms: StrictStr = "Not stated."
    labels: dict[StrictStr, StrictInt] = Field(min_length=1)
    windows: dict[StrictStr, _GroupText] = Field(default_factory=dict)


def read_dataset(path: Path) -> Dataset:
    """Read a data set's description.

    Args:
        path: a TOML file as in docs/datasets.md: `name`, `window`, optionally `title`, `plane`,
            `licence`, `terms`; a table `labels` of name = value; optionally a table
            `windows.<group>` for structures that need a window of their own.

    Raises:
        DatasetError: the file is missing or not TOML, or a key is unknown, missing or out of
            range; the message names file and key.
    """
    text = _read(path)
    names = {value: name for name, value in text.labels.items()}
    if len(names) != len(text.labels):
        raise DatasetError(f"{path}: labels must have different values, got {dict(text.labels)}.")
    own = [
        OrganGroup(name, group.labels, _window(path, group.window))
        for name, group in text.windows.items()
    ]
    grouped = {label for group in own for label in group.labels}
    rest = tuple(label for label in text.labels if label not in grouped)
    general = OrganGroup(text.name, rest, _window(path, text.window))
    terms = Terms(text.licence, text.terms)
    try:
        return Dataset(
            text.name, text.title or text.name, names, (general, *own), text.plane, terms
        )
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None


def _read(path: Path) -> _DatasetText:
    try:
        # Notepad puts a byte order mark first, which TOML does not know.
        return _DatasetText.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read ({error.strerror}); give a data set's .toml file."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not TOML: {error}. Compare docs/datasets.md.") from error
    except ValidationError as error:
        # The last: of a window's two forms, that of the pair says more than "no string".
        last = error.errors(include_url=False)[-1]
        key = ".".join(str(part) for part in last["loc"] if "[" not in str(part))
        raise DatasetError(
            f"{path}: {key}: {last['msg'].lower()}. Compare docs/datasets.md."
        ) from error


def _window(path: Path, text: str | tuple[float, float]) -> WindowRule:
    if isinstance(text, str):
        if text not in PRESETS:
            raise DatasetError(
                f"{path}: window {text!r} is unknown; expected [lower, upper] or one of "
                f"{', '.join(PRESETS)}."
            )
        return PRESETS[text]
    try:
        IntensityWindow(*text)
    except WindowError as error:
        raise DatasetError(f"{path}: {error}") from None
    return FixedWindow(*text)
