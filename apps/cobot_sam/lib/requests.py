"""Inference requests are read here: Slicer's clicks and ROI become prompts on one slice.

Requests for whole structures are read by `lib.volume_requests`, by the same rules.

Slicer sends voxel indices `[i, j, k]`, all points of the label each time, the newest last; a ROI as
`[i_a, i_b, j_a, j_b, k_a, k_b]` whose pairs are not sorted and which stays attached to later clicks
on other objects; and `slice`, which with its Update button is a rounded position in millimetres
instead of a voxel index. Everything here is checked before a voxel is looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
from cobot.errors import PromptError
from cobot.prompts import ObjectPrompts
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

EXTENSIONS = (".nii.gz", ".nii", ".nrrd", ".mha")

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
PointIjk = tuple[Number, Number, Number]
Roi = tuple[Number, Number, Number, Number, Number, Number]

EXPECTED = {
    "foreground": "a list of points [i, j, k], three voxel indices each",
    "background": "a list of points [i, j, k], three voxel indices each",
    "roi": "six voxel indices [i_a, i_b, j_a, j_b, k_a, k_b]",
    "slice": "one whole number, the voxel index k of the slice",
    "label": "the name of the segment",
    "window": "one of the offered windows, or lower,upper",
    "result_extension": f"one of {', '.join(EXTENSIONS)}",
    "time_cap_s": "seconds, more than 0 and at most 600; leave it out for the server's own",
}

Request = TypeVar("Request", bound="ClickRequest")


class ClickRequest(BaseModel):
    """What was asked, in voxel indices, not yet compared with the image.

    Attributes:
        foreground: points on the object, the newest last.
        background: points off the object, the newest last.
        roi: unsorted corners, pair by pair.
        slice_k: the slice the client shows, or None.
        label: the segment's name.
        window: how to spread intensities; None leaves it to the server.
        result_extension: the file type of the answer.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    foreground: tuple[PointIjk, ...] = ()
    background: tuple[PointIjk, ...] = ()
    roi: Roi | None = None
    slice_k: Annotated[int, Field(strict=True)] | None = Field(default=None, alias="slice")
    label: str = "object"
    window: str | None = None
    result_extension: str = ".nii.gz"

    @field_validator("foreground", "background", mode="before")
    @classmethod
    def _absent_is_none(cls, points: object) -> object:
        return () if points is None else points

    @field_validator("roi", mode="before")
    @classmethod
    def _empty_is_absent(cls, roi: object) -> object:
        return None if roi in ([], ()) else roi

    @field_validator("window", mode="before")
    @classmethod
    def _first_choice(cls, window: object) -> object:
        return window[0] if isinstance(window, list) and window else window

    @field_validator("result_extension")
    @classmethod
    def _known(cls, extension: str) -> str:
        if extension not in EXTENSIONS:
            raise ValueError("unknown file type")
        return extension


@dataclass(frozen=True, slots=True)
class SliceQuestion:
    """One slice and what is asked on it.

    Attributes:
        slice_k: voxel index k of the slice that is answered.
        prompts: the points on that slice, and the box if it counts.
        notes: what was left out or changed, each a sentence for the reader.
    """

    slice_k: int
    prompts: ObjectPrompts
    notes: tuple[str, ...]


def read_request(request: Mapping[str, Any]) -> ClickRequest:
    """Read a request as MONAI Label hands it over.

    Raises:
        PromptError: names the key, its value and what was expected.
    """
    return read_as(ClickRequest, request)


def read_as(kind: type[Request], request: Mapping[str, Any]) -> Request:
    """Read a request of some kind; see `read_request`."""
    try:
        return kind.model_validate(dict(request))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0])
        where = "".join(f"[{part}]" for part in first["loc"][1:])
        value = str(request.get(key))[:80]
        raise PromptError(
            f"{key}{where} is not usable ({first['msg']}): got {value}; expected {EXPECTED[key]}."
        ) from None


def choose_slice(request: ClickRequest, shape: tuple[int, int, int]) -> SliceQuestion:
    """Decide which slice is answered and which prompts count on it.

    The shown slice counts if a positive click lies on it; otherwise, if the box covers it;
    otherwise the newest positive click's slice; with a box alone, its middle.

    Args:
        request: what was asked.
        shape: voxels along i, j, k of the image.

    Raises:
        PromptError: nothing to segment, or a point outside the image.
    """
    positive = points_inside("foreground", request.foreground, shape)
    negative = points_inside("background", request.background, shape)
    notes: list[str] = []
    newest = _newest(positive, request.slice_k)
    box = _box(request.roi, shape, newest, notes)
    if newest is None and box is None:
        raise PromptError(nothing_to_segment(request, notes))
    k = request.slice_k
    if not _is_usable(k, newest, box, shape[2]):
        k = _other_slice(k, newest, box, notes)
    points = np.concatenate([positive, negative])
    signs = np.arange(len(points)) < len(positive)
    here = points[:, 2] == k
    if not here.all():
        notes.append(f"{int((~here).sum())} point(s) on other slices were left out.")
    if box is not None:
        box[:, 2] = k
    return SliceQuestion(
        k, ObjectPrompts(request.label, points[here], signs[here], box), tuple(notes)
    )


def points_inside(
    key: str, points: tuple[PointIjk, ...], shape: tuple[int, int, int]
) -> np.ndarray:
    """Points as voxel indices (n 3).

    Raises:
        PromptError: a point lies outside the image.
    """
    rounded = np.rint(np.asarray(points, np.float64).reshape(-1, 3))
    last = np.array(shape) - 1
    for point in rounded:
        if (point < 0).any() or (point > last).any():
            raise PromptError(
                f"{key} point {[int(value) for value in point]} lies outside the image; voxel "
                f"indices run from [0, 0, 0] to {last.tolist()}. Place the click inside the image."
            )
    return rounded.astype(np.int64)


def _newest(positive: np.ndarray, slice_k: int | None) -> np.ndarray | None:
    """The newest positive point of the shown slice, else of all."""
    on_shown = positive[positive[:, 2] == slice_k] if slice_k is not None else positive[:0]
    candidates = on_shown if len(on_shown) else positive
    return candidates[-1] if len(candidates) else None


def _box(
    roi: Roi | None, shape: tuple[int, int, int], newest: np.ndarray | None, notes: list[str]
) -> np.ndarray | None:
    """Lowest and highest voxel (2 3) of a ROI that counts, or None with a note."""
    box = box_inside(roi, shape, notes)
    if box is None:
        return None
    if newest is not None and not ((box[0] <= newest) & (newest <= box[1])).all():
        notes.append(
            f"The ROI was left out: the newest click {newest.tolist()} lies outside it. "
            "Delete or move the ROI to use it."
        )
        return None
    return box


def box_inside(roi: Roi | None, shape: tuple[int, int, int], notes: list[str]) -> np.ndarray | None:
    """Lowest and highest voxel (2 3) of the ROI's part in the image; a note says if it has none."""
    if roi is None:
        return None
    corners = np.sort(np.rint(np.array(roi).reshape(3, 2)), axis=1).T
    last = np.array(shape) - 1
    if (corners[1] < 0).any() or (corners[0] > last).any():
        notes.append("The ROI lies outside the image and was left out.")
        return None
    return np.clip(corners, 0, last).astype(np.int64)


def _is_usable(
    shown: int | None, newest: np.ndarray | None, box: np.ndarray | None, count: int
) -> bool:
    """Whether the shown slice exists and holds the newest click or a part of the box."""
    if shown is None or not 0 <= shown < count:
        return False
    clicked = newest is not None and int(newest[2]) == shown
    return clicked or (box is not None and bool(box[0, 2] <= shown <= box[1, 2]))


def _other_slice(
    shown: int | None, newest: np.ndarray | None, box: np.ndarray, notes: list[str]
) -> int:
    """The newest click's slice, or the middle of the box; a note says it is not the shown one."""
    if newest is not None:
        k, reason = int(newest[2]), "the newest click"
    else:
        k, reason = int(box[:, 2].sum() // 2), "the middle of the ROI"
    if shown is not None:
        notes.append(f"Slice {shown} holds no usable prompt; slice {k}, {reason}, was segmented.")
    return k


def nothing_to_segment(request: ClickRequest, notes: list[str]) -> str:
    """What to say to one who asks for nothing."""
    if request.background:
        asked = "Only background points were given"
    elif notes:
        asked = " ".join(notes).rstrip(".")
    else:
        asked = "No click and no ROI were given"
    return f"{asked}; place one foreground click on {request.label!r} or a ROI around it."
