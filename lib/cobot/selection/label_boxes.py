"""Boxes of an adapter's own label prompts: what is doubted is what is wanted."""

from collections.abc import Sequence
from typing import final

from cobot.auto.files import LabelPrompts
from cobot.auto.first_pass import ShownVolume, look
from cobot.intensity import IntensityWindow
from cobot.planes import Plane
from cobot.prompts import tight_box
from cobot.selection.asked_slice import AskedSlice
from cobot.selection.proposals import ProposedBox
from cobot.volume import Volume

LEAST_PRESENCE = 0.2
"""Less than segmenting asks for: a label that may be there is what a score is to tell."""


@final
class LabelBoxes:
    """Proposes a box for each label that may be on a slice, with its presence.

    Slices are cut and shown as the labels were learnt, each window with its own labels.
    """

    def __init__(self, prompts: LabelPrompts, sha256: str) -> None:
        """Keep the prompts.

        Args:
            prompts: of the adapter that answers.
            sha256: of their file, which names them in the scores.
        """
        self._prompts, self._sha256 = prompts, sha256

    @property
    def name(self) -> str:
        """As `BoxProposer`."""
        return f"LabelBoxes({self._sha256}, least_presence={LEAST_PRESENCE})"

    def shown(self, volume: Volume, plane: Plane, window: IntensityWindow) -> ShownVolume:
        """As the labels were learnt, whatever is offered."""
        return ShownVolume.of(volume, self._prompts, window=None)

    def propose(self, asked: AskedSlice) -> Sequence[ProposedBox]:
        """One box around all of a label's mask; none for a label whose mask is empty."""
        self._prompts.prompter.to(asked.segmenter.device)
        asked.turn()
        presence, found = look(
            asked.segmenter, self._prompts, asked.embedding, asked.labels, LEAST_PRESENCE
        )
        return [
            ProposedBox(tight_box(answer.logits > 0), label, presence[label])
            for label, answer in found.items()
            if (answer.logits > 0).any()
        ]
