"""What is told about structures that were followed through a volume, in numbers and plain words."""

from collections.abc import Sequence

from cobot.propagate import Propagation
from cobot.propagate_rule import StopReason
from cobot.propagate_walk import WalkEnd
from cobot.server.volume_engine import VolumeAnswer

WORDS: dict[StopReason, str] = {
    "reach": "slice {0} is farther from the prompt than the rule lets it go",
    "time": "time was up before slice {0}",
    "empty": "the model found nothing on slice {0}",
    "unsure": "the model was too unsure of its mask on slice {0}",
    "unlike": "the grey values on slice {0} were unlike those on the prompted slice",
    "apart": "the mask on slice {0} hardly overlapped that of the slice before",
    "jump": "the area on slice {0} differed too much from that of the slice before",
}


def structure_report(found: Propagation, prompted: Sequence[int]) -> dict[str, object]:
    """What is known of one structure, as JSON: slices are voxel indices k.

    Args:
        found: the structure.
        prompted: the slices with its prompts.
    """
    return {
        "confidence": {str(index): round(value, 4) for index, value in found.confidence.items()},
        "least_certain_slice": found.least_certain,
        "prompted_slices": list(prompted),
        "ends": [end_report(end, prompted) for end in found.ends],
    }


def end_report(end: WalkEnd, prompted: Sequence[int]) -> dict[str, object]:
    """Where and why a walk ended."""
    return {
        "from_slice": end.seed,
        "direction": end.direction,
        "slice": end.index,
        "reason": end.reason,
        "text": end_in_words(end, prompted),
    }


def end_in_words(end: WalkEnd, prompted: Sequence[int]) -> str:
    """A sentence about the end of a walk.

    >>> end_in_words(WalkEnd(4, 1, 9, "empty"), [4])
    'From slice 4 upwards in k: the model found nothing on slice 9.'
    """
    if end.reason == "edge":
        met = end.index in prompted
        why = f"met the prompted slice {end.index}" if met else "reached the end of the volume"
    else:
        why = WORDS[end.reason].format(end.index)
    return f"From slice {end.seed} {'upwards' if end.direction > 0 else 'downwards'} in k: {why}."


def least_certain(answer: VolumeAnswer) -> dict[str, object] | None:
    """The structure and slice most worth a look; None if every slice found was prompted."""
    worst = [
        (found.slices[found.least_certain].confidence, name, found.least_certain)
        for name, found in answer.structures.items()
        if found.least_certain is not None
    ]
    if not worst:
        return None
    confidence, name, index = min(worst)
    return {"label": name, "slice": index, "confidence": round(confidence, 4)}


def volume_notes(answer: VolumeAnswer, time_cap_s: float) -> list[str]:
    """What the annotator should know beside the mask, each a sentence."""
    notes = []
    ends = [end for found in answer.structures.values() for end in found.ends]
    cut = [end for end in ends if end.reason == "time"]
    if cut:
        notes.append(
            f"Not finished: {len(cut)} of {len(ends)} walks were stopped by time_cap_s "
            f"{time_cap_s:g}. Ask again with the same clicks to go on from there, or raise it."
        )
    found = set(answer.label_map.labels.values())
    for name in answer.structures:
        if name not in found:
            notes.append(
                f"The model found nothing of {name!r}; a mask of it that Slicer still shows is "
                "from before. Click elsewhere on it, or place a ROI."
            )
    return notes
