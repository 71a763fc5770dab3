"""What a user must know of an adapter: which base, which input, trained on what, how good."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import UnionType

from cobot.errors import AdapterError

_JSON_TYPES: Mapping[str, type | UnionType] = {
    **dict.fromkeys(("encoder", "base_sha256", "slice_axis", "dataset"), str),
    **dict.fromkeys(("window", "normalisation", "labels", "recipe", "split", "metrics"), dict),
    **{"image_size_px": int, "image_hashes": list, "seed": int | None, "parent": str | None},
}
"""What a file may say in each field."""


@dataclass(frozen=True, slots=True)
class AdapterCard:
    """An adapter's provenance, as plain JSON values; it names no patient.

    Attributes:
        encoder: name of the base, for example "vit_b".
        base_sha256: SHA-256 of the base's weights, 64 hexadecimal digits.
        window: intensity window of the training slices, for example
            `{"kind": "ct", "low_hu": -160, "high_hu": 240}`.
        normalisation: what follows the window, for example pixel mean and standard deviation.
        image_size_px: side of the square that the encoder saw; 0 if unknown.
        slice_axis: how the volumes were cut, for example "coarsest" or "k".
        labels: label name to its value in the mask.
        recipe: the training settings.
        dataset: name of the data set.
        image_hashes: SHA-256 of each training image, so that a test can refuse what was trained on.
        seed: of the training; None if unknown.
        split: names of the parts and how many, or which, images each holds.
        metrics: measured results by name.
        parent: version this adapter continued from; None if it started afresh.
    """

    encoder: str
    base_sha256: str
    window: Mapping[str, object] = field(default_factory=dict)
    normalisation: Mapping[str, object] = field(default_factory=dict)
    image_size_px: int = 0
    slice_axis: str = ""
    labels: Mapping[str, int] = field(default_factory=dict)
    recipe: Mapping[str, object] = field(default_factory=dict)
    dataset: str = ""
    image_hashes: tuple[str, ...] = ()
    seed: int | None = None
    split: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, object] = field(default_factory=dict)
    parent: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", self.base_sha256):
            raise AdapterError(
                f"Adapter card: base_sha256 {self.base_sha256!r} must be 64 lower-case hexadecimal "
                "digits, the SHA-256 of the base's weights."
            )
        try:
            json.dumps(asdict(self), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise AdapterError(
                f"Adapter card: every field must be plain, finite JSON; {error}."
            ) from error

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "AdapterCard":
        """Return the card written by `to_dict`; unknown or missing fields are refused."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(values) - known)
        missing = sorted({"encoder", "base_sha256"} - set(values))
        if unknown or missing:
            raise AdapterError(f"Adapter card: unknown fields {unknown}, missing {missing}.")
        for name, value in values.items():
            kind = _JSON_TYPES[name]
            if not isinstance(value, kind):
                wanted = getattr(kind, "__name__", kind)
                raise AdapterError(f"Adapter card: {name} {value!r} must be {wanted}.")
        loose = dict(values)
        if isinstance(loose.get("image_hashes"), list):
            loose["image_hashes"] = tuple(loose["image_hashes"])  # type: ignore[arg-type]
        return cls(**loose)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, object]:
        """Return the fields as plain JSON values."""
        values = asdict(self)
        values["image_hashes"] = list(self.image_hashes)
        return values
