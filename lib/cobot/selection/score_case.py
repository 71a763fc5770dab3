"""The scores of one volume: boxes on some of its slices, and how sure the model is of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from cobot.auto.first_pass import ShownVolume
from cobot.intensity import IntensityWindow
from cobot.planes import Plane
from cobot.sam.answer import SliceEmbedding
from cobot.sam.segmenter import SliceSegmenter
from cobot.selection.asked_slice import AskedSlice, go_on
from cobot.selection.box_jitter import BoxJitter
from cobot.selection.case_scores import CaseScores, ObjectScore
from cobot.selection.disagreement import binary_entropy, disagreement
from cobot.selection.diversity import volume_vector
from cobot.selection.proposals import BoxProposer, GridClicks, ProposedBox
from cobot.slicing import cut_slice
from cobot.volume import Volume


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """How a volume is scored.

    Attributes:
        slices: looked at, spread evenly over the volume.
        proposer: where boxes come from, and how slices are shown for it.
        jitter: how boxes are moved.
    """

    slices: int = 8
    proposer: BoxProposer = field(default_factory=GridClicks)
    jitter: BoxJitter = BoxJitter()

    @property
    def name(self) -> str:
        """Scores by different settings are never compared."""
        return f"slices={self.slices} {self.proposer.name} {self.jitter}"


def score_case(
    volume: Volume,
    plane: Plane,
    window: IntensityWindow,
    segmenter: SliceSegmenter,
    settings: ScoreSettings,
    turn: Callable[[], None] = go_on,
) -> CaseScores:
    """Score a volume nobody has labelled; one slice is embedded at a time.

    Args:
        volume: the image.
        plane: how it is cut, unless the proposer knows better; so the window.
        window: black to white.
        segmenter: what is doubted.
        settings: how.
        turn: see `AskedSlice`.
    """
    shown = settings.proposer.shown(volume, plane, window)
    return score_slices(_embedded(shown, segmenter, settings.slices, turn), settings)


def score_slices(slices: Iterable[AskedSlice], settings: ScoreSettings) -> CaseScores:
    """Score a volume by slices that are embedded already.

    Args:
        slices: at least one.
        settings: how; its number of slices is of no account.
    """
    vectors, found = [], dict[str, list[ObjectScore]]()
    for asked in slices:
        vectors.append(pooled(asked.embedding))
        for number, box in enumerate(settings.proposer.propose(asked)):
            score = score_box(box, asked, settings.jitter, number)
            found.setdefault(box.label, []).append(score)
    return CaseScores({label: _mean(some) for label, some in found.items()}, volume_vector(vectors))


def score_box(box: ProposedBox, asked: AskedSlice, jitter: BoxJitter, number: int) -> ObjectScore:
    """How much a box's masks differ when it is moved.

    Args:
        box: what is asked about.
        asked: the slice.
        jitter: how it is moved.
        number: of the box among the slice's.
    """
    answers = asked.answer(jitter.prompts(box.box_xyxy, asked, number))
    return ObjectScore(
        disagreement=disagreement(np.stack([one.mask for one in answers])),
        predicted_iou=float(np.mean([one.predicted_iou for one in answers])),
        presence=binary_entropy(box.presence),
    )


def pooled(embedding: SliceEmbedding) -> Float32[np.ndarray, " c"]:
    """The mean of an embedding over its places."""
    return embedding.features[0].float().mean(dim=(1, 2)).cpu().numpy()


def spread_indices(count: int, wanted: int) -> list[int]:
    """Indices spread evenly over a number of slices, the ends left out.

    >>> spread_indices(10, 2), spread_indices(3, 8)
    ([2, 7], [0, 1, 2])
    """
    chosen = min(count, wanted)
    return [int((2 * one + 1) * count / (2 * chosen)) for one in range(chosen)]


def _embedded(
    shown: ShownVolume, segmenter: SliceSegmenter, wanted: int, turn: Callable[[], None]
) -> Iterator[AskedSlice]:
    for index in spread_indices(shown.volume.shape[shown.plane.axis], wanted):
        slice_ = cut_slice(shown.volume, shown.plane, index)
        for window, labels in shown.windows.items():
            turn()
            view = segmenter.view(slice_, window)
            (embedding,) = segmenter.encode([view])
            yield AskedSlice(segmenter, view, embedding, index, labels, turn)


def _mean(scores: list[ObjectScore]) -> ObjectScore:
    return ObjectScore(
        *(
            float(np.mean([getattr(one, name) for one in scores]))
            for name in ("disagreement", "predicted_iou", "presence")
        )
    )
