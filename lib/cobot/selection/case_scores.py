"""What is known of one image under one model, and what it depends on."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32

Signal = Literal["disagreement", "predicted_iou", "presence"]
SIGNALS: tuple[Signal, ...] = ("disagreement", "predicted_iou", "presence")

FORMAT = 1
"""Of the way scores are computed; another one makes stored scores worthless."""


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """How sure the model is of one kind of object in a volume.

    Attributes:
        disagreement: 1 - mean pairwise Dice of its masks under moved boxes; mean over slices.
        predicted_iou: the decoder's own guess, mean over the same masks.
        presence: entropy in bits of "is it there", mean over slices; 0 where nobody says.
    """

    disagreement: float
    predicted_iou: float
    presence: float = 0.0

    def uncertainty(self, signal: Signal) -> float:
        """Higher is less sure, whichever signal is asked for."""
        value = float(getattr(self, signal))
        return 1.0 - value if signal == "predicted_iou" else value


@dataclass(frozen=True, slots=True, eq=False)
class CaseScores:
    """The scores of one image.

    Attributes:
        objects: label to its score; one without a name for objects the model found unasked.
            Empty: nothing was found.
        vector: how the image looks to the encoder.
    """

    objects: Mapping[str, ObjectScore]
    vector: Float32[np.ndarray, " c"]

    def uncertainty(self, signal: Signal = "disagreement", label: str = "") -> float:
        """Of the volume, the mean over its labels; or of one label.

        An image in which nothing was found, or not that label, is one to look at: 1.
        """
        chosen = [self.objects[label]] if label in self.objects and label else []
        wanted = chosen if label else list(self.objects.values())
        return float(np.mean([one.uncertainty(signal) for one in wanted])) if wanted else 1.0


@dataclass(frozen=True, slots=True)
class ScoreKey:
    """Everything that scores depend on.

    Attributes:
        image: the image's content or its file's stamp.
        base_sha256: of the base's weights.
        adapter_sha256: of the adapter; empty is the base alone.
        settings: how they were computed.
    """

    image: str
    base_sha256: str
    adapter_sha256: str
    settings: str

    @property
    def digest(self) -> str:
        """A name that differs wherever anything differs."""
        text = json.dumps([FORMAT, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
