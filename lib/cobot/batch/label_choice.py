"""Which labels are wanted, and their values: `--labels`."""

from collections.abc import Mapping
from dataclasses import dataclass

from cobot.errors import ConfigError
from cobot.volume import LARGEST_LABEL


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """Labels wanted by a user.

    Attributes:
        values: value to name, "1=liver,4=spleen"; empty where only names were given.
        names: wanted; empty means all.
    """

    values: tuple[tuple[int, str], ...] = ()
    names: tuple[str, ...] = ()

    def among(self, known: Mapping[int, str]) -> dict[int, str]:
        """The wanted ones of known labels.

        Chosen values win over a mask's own names, since a mask's may be no more than numbers; of
        prompts, labels are known by name and take the chosen values.

        Args:
            known: value to name.

        Raises:
            ConfigError: a chosen label is not among them.
        """
        if self.values:
            return dict(self.values)
        self.require_known(known)
        wanted = self.names or tuple(known.values())
        return {value: name for value, name in known.items() if name in wanted}

    def require_known(self, known: Mapping[int, str]) -> None:
        """Refuse a name that is not among known labels.

        Raises:
            ConfigError: names it, and the known ones.
        """
        wanted = {name for _, name in self.values} | set(self.names)
        missing = sorted(wanted - set(known.values()))
        if missing:
            raise ConfigError(
                f"--labels names {', '.join(missing)}; known are "
                f"{', '.join(known.values()) or 'none'}. Correct the name."
            )


def read_label_choice(text: str) -> LabelChoice:
    """Read "1=liver,4=spleen" or "liver,spleen"; empty means all.

    Raises:
        ConfigError: neither, a value out of range, or one given twice.

    >>> read_label_choice("4=spleen, 1=liver").values
    ((4, 'spleen'), (1, 'liver'))
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not any("=" in part for part in parts):
        return LabelChoice(names=tuple(parts))
    try:
        pairs = tuple((int(value), name.strip()) for value, name in (p.split("=") for p in parts))
    except ValueError:
        pairs = ()
    values, names = {value for value, _ in pairs}, {name for _, name in pairs}
    in_range = all(1 <= value <= LARGEST_LABEL for value in values) and all(names)
    if not pairs or not in_range or not len(values) == len(names) == len(pairs):
        raise ConfigError(
            f"--labels {text!r} cannot be read; expected names such as liver,spleen, or values "
            f"from 1 to {LARGEST_LABEL} with names, each once, such as 1=liver,4=spleen."
        )
    return LabelChoice(values=pairs)
