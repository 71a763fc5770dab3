"""Requests for whole structures: every click of one structure, or of several.

For one (`sam_3d`) Slicer sends `foreground`, `background` and `label`, as for a slice, but the
points of all slices and no `slice`. For several (`sam_multi`) it sends one key for each label of
the server, with that segment's points, and the current segment as `label`; `background` may come
from other clients. Both carry the ROI, which belongs to the current segment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from cobot.errors import PromptError
from cobot.prompts import ObjectPrompts
from pydantic import Field, TypeAdapter, ValidationError

from lib.requests import (
    EXPECTED,
    ClickRequest,
    PointIjk,
    box_inside,
    nothing_to_segment,
    points_inside,
    read_as,
)

LONGEST_CAP_S = 600
POINTS = TypeAdapter(tuple[PointIjk, ...])

KEPT_KEYS = frozenset({"foreground", "background", "roi", "slice", "label", "window"})
"""Keys that mean something else, so no structure can be asked for under them."""


class VolumeRequest(ClickRequest):
    """As a request about a slice, and how long it may take.

    Attributes:
        time_cap_s: seconds after which what is ready is answered; None leaves it to the server.
    """

    time_cap_s: (
        Annotated[float, Field(strict=True, gt=0, le=LONGEST_CAP_S, allow_inf_nan=False)] | None
    ) = None


@dataclass(frozen=True, slots=True)
class VolumeQuestion:
    """What is asked of a volume.

    Attributes:
        targets: one for each structure.
        notes: what was left out or changed, each a sentence for the reader.
    """

    targets: tuple[ObjectPrompts, ...]
    notes: tuple[str, ...]


def read_volume_request(request: Mapping[str, Any]) -> VolumeRequest:
    """Read what requests for one and for several structures have in common.

    Raises:
        PromptError: names the key, its value and what was expected.
    """
    return read_as(VolumeRequest, request)


def one_structure(request: VolumeRequest, shape: tuple[int, int, int]) -> VolumeQuestion:
    """All clicks and the ROI of one structure.

    Raises:
        PromptError: there is no positive click and no ROI, or a click lies outside the image.
    """
    notes: list[str] = []
    positive = points_inside("foreground", request.foreground, shape)
    negative = points_inside("background", request.background, shape)
    target = _target(request.label, positive, negative, _box(request, shape, positive, notes))
    if target is None:
        raise PromptError(nothing_to_segment(request, notes))
    return VolumeQuestion((target,), tuple(notes))


def several_structures(
    raw: Mapping[str, Any], shape: tuple[int, int, int], labels: Sequence[str]
) -> VolumeQuestion:
    """The clicks of every structure; background clicks count for all of them.

    Args:
        raw: the request as MONAI Label hands it over.
        shape: voxels along i, j, k of the image.
        labels: names of the structures that the server knows.

    Raises:
        PromptError: nothing is asked for, a label is unknown, or a click lies outside the image.
    """
    request = read_volume_request(raw)
    known = [name for name in labels if name not in KEPT_KEYS]
    _require_known(raw, known)
    notes: list[str] = []
    background = points_inside("background", request.background, shape)
    targets = []
    for name in known:
        given = _read_points(name, raw.get(name))
        current = raw.get("label") == name
        if current:
            given += request.foreground
        positive = points_inside(name, given, shape)
        box = _box(request, shape, positive, notes) if current else None
        target = _target(name, positive, background, box)
        if target is not None:
            targets.append(target)
    if not targets:
        said = "".join(f"{note} " for note in notes)
        raise PromptError(
            f"{said}No click on any structure was given; place one on at least one of "
            f"{', '.join(known)}."
        )
    return VolumeQuestion(tuple(targets), tuple(notes))


def _target(
    label: str, positive: np.ndarray, negative: np.ndarray, box: np.ndarray | None
) -> ObjectPrompts | None:
    """A structure that can be asked for, or None."""
    if len(positive) == 0 and box is None:
        return None
    points = np.concatenate([positive, negative])
    return ObjectPrompts(label, points, np.arange(len(points)) < len(positive), box)


def _box(
    request: ClickRequest, shape: tuple[int, int, int], positive: np.ndarray, notes: list[str]
) -> np.ndarray | None:
    """The ROI on its middle slice, or None with a note.

    Slicer keeps sending the ROI of the structure before. A ROI that holds none of the clicks, seen
    along k, is taken for one; its slice depends on the ROI alone, so that another click never moves
    it. In k it says little: placed in one view, its depth is whatever Slicer chose.
    """
    box = box_inside(request.roi, shape, notes)
    if box is None:
        return None
    if len(positive) and not _over_any(box, positive):
        notes.append(
            f"The ROI was left out: no click on {request.label!r} lies in it. Delete or move the "
            "ROI to use it."
        )
        return None
    low, high = box[:, 2].tolist()
    if low != high:
        notes.append(
            f"Of the ROI over slices {low} to {high} its middle {(low + high) // 2} counts."
        )
    box[:, 2] = (low + high) // 2
    return box


def _over_any(box: np.ndarray, points: np.ndarray) -> bool:
    """Whether a point lies in the box, seen along k."""
    inside = (box[0, :2] <= points[:, :2]) & (points[:, :2] <= box[1, :2])
    return bool(inside.all(axis=1).any())


def _read_points(key: str, value: object) -> tuple[PointIjk, ...]:
    """The points of one structure; none if there is no such key."""
    try:
        return () if value is None else POINTS.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"[{part}]" for part in first["loc"])
        raise PromptError(
            f"{key}{where} is not usable ({first['msg']}): got {str(value)[:80]}; expected "
            f"{EXPECTED['foreground']}."
        ) from None


def _require_known(raw: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse clicks on a structure that this server does not know: they would be lost."""
    points = [key for key, value in raw.items() if _looks_like_points(value)]
    asked = [key for key in points if key not in KEPT_KEYS]
    asked += [raw["label"]] if raw.get("label") else []
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise PromptError(
            f"{unknown[0]!r} is none of this server's labels ({', '.join(known)}). Choose one of "
            "them, use sam_3d, or start the server with --labels that name it."
        )


def _looks_like_points(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, list) and len(one) == 3 for one in value)
    )
