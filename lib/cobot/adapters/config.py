"""Which adapter, where and how large: one value, checked once."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Literal

from cobot.errors import ConfigError

Method = Literal["lora", "adaptformer", "freeze", "lightweight"]
Relation = Literal["none", "fixed", "learned"]
Head = Literal["none", "linear", "hyper-complex"]
Init = Literal["zero", "paper"]

METHOD_NAMES = (
    "lora",
    "lora+cobot",
    "adaptformer",
    "adaptformer+cobot",
    "freeze",
    "lightweight",
)
"""The six methods of the paper's Table 4, as users spell them."""

DEFAULT_WIDTH = {"lora": 4, "adaptformer": 16, "freeze": 0, "lightweight": 0}
"""V of the paper: rank 4 for LoRA, bottleneck 16 for AdaptFormer."""

LARGEST_WIDTH = 4096
"""More than any SAM is wide; a damaged file shall not ask for all memory."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "method": ("lora", "adaptformer", "freeze", "lightweight"),
    "relation": ("none", "fixed", "learned"),
    "head": ("none", "linear", "hyper-complex"),
    "init": ("zero", "paper"),
}


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """One adapter's method, switches and size (DESIGN of SAM-COBOT, sections 4.2 to 4.4).

    `AdapterConfig.named` fills the defaults of a method; the switches exist for the ablations of
    the paper's Tables 1 to 3 and Fig. 5.

    Attributes:
        method: where the adapter sits; "freeze" and "lightweight" add none ("lightweight" trains
            the mask decoder alone).
        width: hidden size V: LoRA's rank or AdaptFormer's bottleneck; 0 without an adapter.
        coefficients: the dual coefficient sets, own and linked (section 4.2).
        relation: the relation matrix S over the slots (eq. 13): "none" leaves S out (S = I),
            "fixed" draws it at random once, "learned" trains it from the identity.
        head: the projection head W (section 4.3): "linear" is Table 3's plain V x V layer.
        dropout: AdaptFormer's dropout after its ReLU, in [0, 1); LoRA has none.
        scale: factor s of the adapter's branch.
        init: "zero" starts as the identity; "paper" starts as the published experiments did:
            LoRA's A and B Xavier-normal, W with real part 0 and imaginary parts uniform in [0, 1).
        train_decoder: whether the mask decoder is trained and saved with the adapter.
        blocks: indices of the adapted blocks, ascending; None adapts all.
    """

    method: Method
    width: int
    coefficients: bool = False
    relation: Relation = "none"
    head: Head = "none"
    dropout: float = 0.0
    scale: float = 1.0
    init: Init = "zero"
    train_decoder: bool = True
    blocks: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.has_branch:
            _check_branch(self)
        else:
            _check_no_branch(self)

    @classmethod
    def named(cls, name: str, **changes: object) -> "AdapterConfig":
        """Return the configuration of a method by its name in `METHOD_NAMES`.

        Args:
            name: for example "lora+cobot": LoRA with all of COBOT's switches on.
            **changes: fields to set otherwise, for example `width=8` or `relation="fixed"`.

        Raises:
            ConfigError: the name or a field is unknown, or a value does not fit.
        """
        if name not in METHOD_NAMES:
            raise ConfigError(
                f"Adapter method {name!r} is unknown: choose one of {', '.join(METHOD_NAMES)}."
            )
        method, _, cobot = name.partition("+")
        values: dict[str, object] = {
            "method": method,
            "width": DEFAULT_WIDTH[method],
            "dropout": 0.1 if method == "adaptformer" else 0.0,
            "train_decoder": method != "freeze",
        }
        if cobot:
            values |= {"coefficients": True, "relation": "learned", "head": "hyper-complex"}
        return cls.from_dict(values | changes)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "AdapterConfig":
        """Return the configuration written by `to_dict`; unknown or missing fields are refused."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        missing = sorted({"method", "width"} - set(values))
        if unknown or missing:
            raise ConfigError(
                f"Adapter settings: unknown {unknown}, missing {missing}; known are "
                f"{', '.join(sorted(known))}."
            )
        return cls(**_typed(values))  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, object]:
        """Return the fields as plain JSON values."""
        values = asdict(self)
        values["blocks"] = None if self.blocks is None else list(self.blocks)
        return values

    @property
    def has_branch(self) -> bool:
        """Whether anything is attached to the encoder."""
        return self.method in ("lora", "adaptformer")

    @property
    def slots_per_block(self) -> int:
        """Adapted places in a block: LoRA has two (q and v), AdaptFormer one (the MLP)."""
        return {"lora": 2, "adaptformer": 1, "freeze": 0, "lightweight": 0}[self.method]

    @property
    def name(self) -> str:
        """The method's name; an ablation lists its switches, as in "lora+relation=fixed"."""
        switches = (self.coefficients, self.relation, self.head)
        if switches == (False, "none", "none"):
            return self.method
        if switches == (True, "learned", "hyper-complex"):
            return f"{self.method}+cobot"
        return (
            f"{self.method}+coefficients={'on' if self.coefficients else 'off'}"
            f"+relation={self.relation}+head={self.head}"
        )

    def with_width(self, width: int) -> "AdapterConfig":
        """Return the same adapter with another hidden size V."""
        return replace(self, width=width)


def _typed(values: Mapping[str, object]) -> dict[str, object]:
    """Return values from JSON or a command line in the fields' types, or refuse them."""
    typed = dict(values)
    for name, value in values.items():
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ConfigError(
                f"Adapter {name} {value!r} is unknown: choose one of {', '.join(_CHOICES[name])}."
            )
        if name in ("coefficients", "train_decoder") and not isinstance(value, bool):
            raise ConfigError(f"Adapter {name} {value!r} must be true or false.")
        if name in ("dropout", "scale"):
            typed[name] = _number(name, value)
        if name == "width" and (isinstance(value, bool) or not isinstance(value, int)):
            raise ConfigError(f"Adapter width {value!r} must be an integer.")
        if name == "blocks" and value is not None:
            typed[name] = _indices(value)
    return typed


def _number(name: str, value: object) -> float:
    """Return a number as float, or refuse."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"Adapter {name} {value!r} must be a number.")
    try:
        return float(value)
    except OverflowError as error:
        raise ConfigError(f"Adapter {name} is too large a number.") from error


def _indices(value: object) -> tuple[int, ...]:
    """Return block indices as a tuple, or refuse."""
    if not isinstance(value, list | tuple) or not all(type(index) is int for index in value):
        raise ConfigError(f"Adapter blocks {value!r} must be a list of integers, or null for all.")
    return tuple(value)


def _check_branch(config: AdapterConfig) -> None:
    """Refuse sizes and switches that make no adapter, with the reason."""
    _check_numbers(config)
    if config.head == "hyper-complex" and config.width % 4:
        raise ConfigError(
            f"Adapter width {config.width} with a hyper-complex head: a quaternion has four parts, "
            f"so V must be divisible by 4. Choose {config.width // 4 * 4 + 4}, or head 'linear'."
        )
    if config.relation != "none" and not config.coefficients:
        raise ConfigError(
            f"Adapter relation {config.relation!r} without coefficients has nothing to relate: "
            "set coefficients=True, or relation='none'."
        )
    blocks = config.blocks
    if blocks is not None and (not blocks or list(blocks) != sorted({*blocks}) or blocks[0] < 0):
        raise ConfigError(
            f"Adapter blocks {blocks} must be ascending indices from 0, each once; None means all."
        )


def _check_numbers(config: AdapterConfig) -> None:
    """Refuse a width, dropout or scale out of range."""
    if not 1 <= config.width <= LARGEST_WIDTH:
        raise ConfigError(f"Adapter width {config.width} must lie in 1 to {LARGEST_WIDTH}.")
    if not 0 <= config.dropout < 1:
        raise ConfigError(f"Adapter dropout {config.dropout} must lie in [0, 1).")
    if config.dropout and config.method == "lora":
        raise ConfigError(
            f"Adapter dropout {config.dropout} belongs to AdaptFormer; LoRA must have 0."
        )
    if not 0 < abs(config.scale) < float("inf"):
        raise ConfigError(f"Adapter scale {config.scale} must be finite and not 0.")


def _check_no_branch(config: AdapterConfig) -> None:
    """Refuse adapter settings for methods that attach nothing."""
    wrong = [
        field.name
        for field in fields(AdapterConfig)
        if field.name not in ("method", "width", "train_decoder")
        and getattr(config, field.name) != field.default
    ]
    if config.width or wrong:
        raise ConfigError(
            f"Method {config.method!r} attaches no adapter, so {wrong or ['width']} cannot be set; "
            "leave the defaults and width 0."
        )
    if config.train_decoder != (config.method == "lightweight"):
        raise ConfigError(
            f"Method {config.method!r} has train_decoder="
            f"{config.method == 'lightweight'} by definition, got {config.train_decoder}."
        )
