"""A recipe with some settings changed from JSON or a command line, or a refusal in words."""

from collections.abc import Mapping, Sequence
from dataclasses import Field, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from cobot.errors import ConfigError


@runtime_checkable
class Settings(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


R = TypeVar("R", bound=Settings)


def with_changes(
    recipe: R,
    changes: Mapping[str, object],
    title: str,
    choices: Mapping[str, Sequence[str]] | None = None,
) -> R:
    """The recipe with other values of some of its settings.

    Args:
        recipe: a frozen dataclass of numbers and of words; its own checks see the new values.
        changes: setting to value.
        title: what refusals begin with.
        choices: the words that a setting may be; only such settings hold words.

    Raises:
        ConfigError: a setting is unknown, or a value is of another type.
    """
    words = choices or {}
    known = sorted(
        field.name
        for field in fields(recipe)
        if field.name in words or not isinstance(getattr(recipe, field.name), str)
    )
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise ConfigError(f"{title}: unknown settings {unknown}; expected some of {known}.")
    typed = {
        name: _word(value, words[name], f"{title}: {name}")
        if name in words
        else _number(value, getattr(recipe, name), f"{title}: {name}")
        for name, value in changes.items()
    }
    return replace(recipe, **typed)


def _word(value: object, choices: Sequence[str], title: str) -> str:
    if isinstance(value, str) and value in choices:
        return value
    raise ConfigError(f"{title} {value!r} must be one of {', '.join(choices)}.")


def _number(value: object, default: int | float, title: str) -> int | float:
    """Whole where the default is; JSON writes 1.0 as 1, so a whole number may stand for any."""
    if isinstance(default, int):
        if type(value) is int:
            return value
        raise ConfigError(f"{title} {value!r} must be a whole number.")
    if type(value) is int or type(value) is float:
        return float(value)
    raise ConfigError(f"{title} {value!r} must be a number.")
