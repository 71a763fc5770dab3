"""What a set of label prompts was learnt for and how it is built: plain values, written as JSON."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from cobot.errors import AdapterError
from cobot.intensity import FixedWindow, PercentileWindow, WindowRule
from cobot.training.task import TrainingTask

_WINDOWS: Mapping[str, Callable[..., WindowRule]] = {
    "fixed": FixedWindow,
    "percentile": PercentileWindow,
}


@dataclass(frozen=True, slots=True)
class PrompterShape:
    """The sizes of the learnt parts.

    Attributes:
        width: of the prompt encoder and the image embedding.
        tokens: for each label.
        hidden: channels of the head that finds labels on the embedding.
    """

    width: int
    tokens: int = 3
    hidden: int = 64

    def __post_init__(self) -> None:
        if min(self.width, self.tokens, self.hidden) < 1:
            raise AdapterError(f"Label prompts: every size must be at least 1, got {self}.")


@dataclass(frozen=True, slots=True)
class AutoSettings:
    """Everything about label prompts but their tensors.

    Attributes:
        task: the structures, their windows, and how volumes are cut.
        shape: of the learnt parts.
        components: name of a structure to the number of connected parts it has in 3D.
        base_sha256: of the base's weights.
        adapter_sha256: of the adapter whose embeddings they were learnt on; empty: the base alone.
        recipe: how they were learnt.
        metrics: what was measured, by name.
    """

    task: TrainingTask
    shape: PrompterShape
    components: Mapping[str, int]
    base_sha256: str
    adapter_sha256: str
    recipe: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, object] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The structures in the order of their values, which is that of the tensors' rows."""
        return tuple(name for _, name in sorted(self.task.labels.items()))

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "task": {
                "name": self.task.name,
                "labels": {str(value): name for value, name in self.task.labels.items()},
                "windows": {name: _as_json(rule) for name, rule in self.task.windows.items()},
                "cut": self.task.cut,
            },
            "shape": asdict(self.shape),
            "components": dict(self.components),
            "base_sha256": self.base_sha256,
            "adapter_sha256": self.adapter_sha256,
            "recipe": dict(self.recipe),
            "metrics": dict(self.metrics),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "AutoSettings":
        """The settings written by `to_dict`.

        Raises:
            AdapterError: a field is unknown, missing or of another kind.
        """
        try:
            loose = dict(values)
            task: Mapping[str, object] = dict(loose.pop("task"))  # type: ignore[call-overload]
            shape = PrompterShape(**loose.pop("shape"))  # type: ignore[arg-type]
            return cls(task=_task(task), shape=shape, **loose)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise AdapterError(
                f"Label prompts: their settings cannot be read ({error}); learn them again with "
                "`cobot train --auto`."
            ) from error


def _task(values: Mapping[str, object]) -> TrainingTask:
    loose = dict(values)
    labels: Mapping[str, str] = loose.pop("labels")  # type: ignore[assignment]
    windows: Mapping[str, Mapping[str, object]] = loose.pop("windows")  # type: ignore[assignment]
    return TrainingTask(
        labels={int(value): name for value, name in labels.items()},
        windows={name: _from_json(rule) for name, rule in windows.items()},
        **loose,  # type: ignore[arg-type]
    )


def _as_json(rule: WindowRule) -> dict[str, object]:
    """A window as a kind and its two numbers."""
    if isinstance(rule, FixedWindow):
        return {"kind": "fixed", **asdict(rule)}
    if isinstance(rule, PercentileWindow):
        return {"kind": "percentile", **asdict(rule)}
    raise AdapterError(
        f"Label prompts cannot keep the window {rule}; give two numbers or a preset."
    )


def _from_json(values: Mapping[str, object]) -> WindowRule:
    loose = dict(values)
    form = _WINDOWS[str(loose.pop("kind"))]
    return form(**loose)
